/* compare_record.h - a comparison as two journals. */
#ifndef LONGMIX_COMPARE_RECORD_H
#define LONGMIX_COMPARE_RECORD_H

#include "report/compare.h"

/* Writes a.jsonl and b.jsonl into a folder, which is made; what is in them is replaced. Both have
 * the same run id, which says that sample i of a case in one was taken together with sample i in
 * the other. Fails as journal_open and journal_append. */
Status compare_record(const Comparison *c, const char *folder);

#endif
