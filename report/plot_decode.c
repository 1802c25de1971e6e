/* plot_decode.c - how many times faster a token of a sparse block is than one of the dense block,
 * against the model's width: measured, and by the bytes alone. */
#include "report/decode.h"
#include "report/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const variants[] = {"scaling_ff", "scaling_qkv", "scaling"};

static bool shows(const DecodeRows *d, const Row *r, const char *variant)
{
    return r->c.level == LEVEL_LAYER && strcmp(r->c.variant, variant) == 0 &&
           decode_dense(d, r) != NULL;
}

static void write_data(FILE *f, const DecodeRows *d, int which, Range *x, Range *y)
{
    fprintf(f, "$d%d << EOD\n", which);
    for (int i = 0; i < d->n; i++) {
        const Row *r = d->row[i];
        if (!shows(d, r, variants[which]))
            continue;
        double speedup = decode_speedup(d, r), bytes = decode_byte_speedup(d, r);
        fprintf(f, "%d %.6g %.6g\n", r->c.width, speedup, bytes);
        for (int side = 0; side < 2; side++) { /* room around the points */
            range_add(x, r->c.width * (side ? 1.2 : 1 / 1.2));
            range_add(y, speedup * (side ? 1.3 : 1 / 1.3));
            range_add(y, bytes * (side ? 1.3 : 1 / 1.3));
        }
    }
    fprintf(f, "EOD\n");
}

static void write_lines(FILE *f)
{
    fprintf(f, "plot ");
    for (int i = 0; i < COUNT(variants); i++) {
        Style s = style_of(variants[i]);
        fprintf(f,
                "$d%d using 1:2 with linespoints lw 2 dt 1 pt %d ps 0.9 lc rgb '%s' title '%s', ",
                i, s.point, s.color, variants[i]);
        fprintf(f, "$d%d using 1:3 with linespoints lw 1 dt (3,4) pt %d ps 0.7 lc rgb '%s'", i,
                s.hollow, s.color);
        fprintf(f, " title '%s, by its bytes', \\\n     ", variants[i]);
    }
    fprintf(f, "1 with lines lw 1 lc rgb '#999999' title 'the dense block'\n");
}

Status plot_decode(FILE *f, const char *name, const Rows *rows, bool *drawn)
{
    static const char title[] = "One token of one block: times as fast as the dense block";
    static const char caption[] = "batch 1, cold caches, medians; thin: ratio of the bytes touched";
    DecodeRows d;
    Range x = range_empty(), y = range_empty();
    Grid single = script_grid(1);
    TRY(decode_rows(rows, &d));
    *drawn = false;
    for (int i = 0; i < d.n; i++)
        *drawn = *drawn || shows(&d, d.row[i], "scaling");
    if (*drawn) {
        script_head(f, name, title, caption, single);
        for (int i = 0; i < COUNT(variants); i++)
            write_data(f, &d, i, &x, &y);
        script_body(f, name, title, caption, single);
        script_axis(f, 'x', "model width D", SCALE_LOG, x);
        script_axis(f, 'y', "times the dense block", SCALE_LOG, y);
        write_lines(f);
        script_end(f, single);
    }
    free(d.row);
    return ST_OK;
}
