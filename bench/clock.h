/* clock.h - the steady clock of the harness. */
#ifndef LONGMIX_CLOCK_H
#define LONGMIX_CLOCK_H

double clock_now(void); /* seconds since some moment; never steps back */

#endif
