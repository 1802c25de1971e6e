/* side.h - one of two builds that are compared: its sampler, which stands still until it is asked.
 */
#ifndef LONGMIX_SIDE_H
#define LONGMIX_SIDE_H

#include "bench/child.h"

#include <jansson.h>

typedef struct Side {
    const char *program; /* NULL: this program */
    Child child;
    char build[24], commit[48], compiler[96], isa[16]; /* as it says */
    double limit;                                      /* seconds to wait for an answer */
} Side;

/* Starts it and hears who it is. env: "K=V" for it alone, or NULL. ST_USAGE when the program is
 * none of ours or too old to be compared. */
Status side_start(Side *s, const char *program, const char *env);
void side_stop(Side *s); /* fine if there is none */

/* Lets it run, asks, and stops it again (SIGSTOP): threads that wait by spinning would take the
 * other side's time. request: members of the request; it is used up. *answer: free by json_decref.
 * A status that is not ok becomes the Status that row_fail made it from; a death is ST_DEVICE, and
 * the next question needs another side_start. */
Status side_ask(Side *s, const char *word, json_t *request, json_t **answer);

/* Wants {"case": ...}; brief, so that older builds understand it. */
json_t *case_request(const Case *c);

#endif
