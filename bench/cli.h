/* cli.h - the commands of the program, and what their command lines share. */
#ifndef LONGMIX_CLI_H
#define LONGMIX_CLI_H

#include "kernels/base.h"

#include <argp.h>

/* Each returns an exit code: 0 fine, 1 bad rows or an invalid file, 2 a bad command line or broken
 * surroundings. train_main and eval_main are in train.h, worker_main in worker.h. */
int apply_main(int argc, char **argv);
int bench_main(int argc, char **argv);
int explain_main(int argc, char **argv);
int list_main(int argc, char **argv);
int report_main(int argc, char **argv);
int validate_main(int argc, char **argv);
int baseline_main(int argc, char **argv);
int export_main(int argc, char **argv);
int compare_main(int argc, char **argv);
int selftest_main(int argc, char **argv);
int version_main(int argc, char **argv);

/* argp_parse with one line for every mistake: the parser FAILs and returns EINVAL, and what getopt
 * finds (unknown options, missing values) becomes ST_USAGE with the nearest option. --help is shown
 * by --help alone, and ends the program. name: "longmix bench". */
Status cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input);

/* The next of at most `most` words that are no options, or EINVAL and a reason. */
error_t cli_word(const char *word[], int *n, int most, const char *value, const char *name);

/* Prints "NAME: reason" for a failure. Returns its exit code, 0 for ST_OK. */
int cli_exit(const char *name, Status st);

#endif
