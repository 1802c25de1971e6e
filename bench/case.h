/* case.h - runs one point of a sweep and fills one row. The only place where the parts meet. */
#ifndef LONGMIX_CASE_H
#define LONGMIX_CASE_H

#include "kernels/device.h"
#include "report/row.h"

/* Fills a row with what the dry backend says: memory, work, parameters. Takes milliseconds. */
void case_predict(const Case *c, Row *row);
/* Runs and times it; the row also holds the prediction. A case that cannot run is a row, too. */
void case_run(const Case *c, Row *row);

/* Peaks by tag, as a row has them. */
Memory case_memory(const MemUse *m, int64_t n_allocs);
/* What products did since the device had counted `before`, where they count it; else 0. */
double case_executed(const Case *c, const Dev *d, double before);
/* Bytes that the driver of a GPU gave at most since dev_mem_reset_peak; 0 on the host. */
int64_t case_pool(const Dev *d);
/* How a failure is called in a row, with its reason. */
void row_fail(Row *row, Status st);

#endif
