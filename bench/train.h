/* train.h - training and examining language models: as a row of results and as commands. */
#ifndef LONGMIX_TRAIN_H
#define LONGMIX_TRAIN_H

#include "bench/backend.h"
#include "bench/trainer.h"
#include "report/row.h"

/* What `make text` prepares, and every command that needs a text falls back on. */
extern const char train_default_text[];

/* Parameters (embedding and head apart) of the models that the quality rows compare. */
enum { TRAIN_QUALITY_PARAMS = 400000 };

/* Exams on the way, and the windows of each. */
enum { TRAIN_EXAMS = 13, TRAIN_EXAM_WINDOWS = 44 };

/* What such a training is before it runs: the sizes, parameters, steps and learning rate that a row
 * of it holds, however it ends. No device is opened. */
Status train_outline(const Case *c, int64_t tokens, Row *row);

/* Trains c->variant on the text for `tokens` tokens with context c->n and batch c->batch, sizes
 * solved for TRAIN_QUALITY_PARAMS unless c->width is given, and fills a ROW_TRAIN with its curve,
 * held-out bits per byte and the sizes that were chosen. A failure is the row's status. */
void train_row(const Case *c, const char *data, int64_t tokens, Row *row);

/* Opens a device for a command; on the host it may take 80 % of the free memory. */
Status train_device(Dev **out, BackendAsk *ask);

/* `longmix train` and `longmix eval`; return exit codes. */
int train_main(int argc, char **argv);
int eval_main(int argc, char **argv);

#endif
