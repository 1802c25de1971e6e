/* gnuplot.h - runs gnuplot on a script. */
#ifndef LONGMIX_GNUPLOT_H
#define LONGMIX_GNUPLOT_H

#include "kernels/base.h"

/* Runs `gnuplot SCRIPT` inside of a folder. Fails: ST_UNSUPPORTED when there is no gnuplot (the
 * reason says how to get it), ST_IO when it does not like the script. */
Status gnuplot_run(const char *folder, const char *script);

#endif
