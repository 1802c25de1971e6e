/* op_clock.h - where the time of a step goes: op by op, what each moves, and what is outside of
 * them.
 */
#ifndef LONGMIX_OP_CLOCK_H
#define LONGMIX_OP_CLOCK_H

#include "report/row.h"

/* Fills a ROW_OPS: of the watched step of median length, with steps that are not watched in turn. A
 * case of level kernel, and one that cannot run, is a row with its reason. */
void ops_run(const Case *c, Row *row);

#endif
