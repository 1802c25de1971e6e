/* tables.c - the headline: how fast, how far, from where on faster than vanilla. */
#include "report/tables.h"

#include "report/format.h"
#include "report/plot.h"
#include "report/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ANCHORS = 3, FIT_POINTS = 4, MAX_POINTS = 64 };

void put_text(FILE *f, const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s == '<')
            fprintf(f, "&lt;");
        else if (*s == '\n' || *s == '\r')
            fputc(' ', f);
        else
            fprintf(f, "%s%c", strchr("|*`\\", *s) != NULL ? "\\" : "", *s);
    }
}

/* The sets of series that the headline needs. */
typedef struct Headline {
    Level level;
    SeriesSet forward, decode, trained;
    int64_t length[ANCHORS], depth[ANCHORS]; /* columns: lengths that were measured */
    int n_lengths, n_depths;
} Headline;

/* ---- which lengths to show ---- */

/* The measured length nearest to the one that is wanted, on a logarithmic scale; 0: none. */
static int64_t nearest(const SeriesSet *set, int64_t wanted)
{
    int64_t best = 0;
    for (const Series *s = set->item; s < set->item + set->n; s++)
        for (int i = 0; i < s->n; i++) {
            int64_t n = s->row[i]->c.n;
            double off = fabs(log((double)n / (double)wanted));
            if (s->row[i]->status == ROW_OK &&
                (best == 0 || off < fabs(log((double)best / (double)wanted))))
                best = n;
        }
    return best;
}

static int pick(const SeriesSet *set, const int64_t *wanted, int n_wanted, int64_t *out)
{
    int n = 0;
    for (int i = 0; i < n_wanted; i++) {
        int64_t at = nearest(set, wanted[i]);
        if (at > 0 && (n == 0 || out[n - 1] != at))
            out[n++] = at;
    }
    return n;
}

/* ---- cells ---- */

static void micros_cell(FILE *f, const Series *s, int64_t n)
{
    const Row *r = s != NULL ? series_at(s, n) : NULL;
    fprintf(f, " %s |", r != NULL ? text_digits(micros_per_token(r)).s : "-");
}

/* "T^1.98 ± 0.02" */
static void exponent_cell(FILE *f, const Series *s)
{
    double x[MAX_POINTS], y[MAX_POINTS];
    int n = s->n <= MAX_POINTS ? series_points(s, seconds_per_sequence, x, y) : 0;
    if (n < 3) {
        fprintf(f, " - |");
        return;
    }
    int used = n < FIT_POINTS ? n : FIT_POINTS;
    Fit fit = stats_exponent(x + n - used, y + n - used, used);
    fprintf(f, " T^%.2f ± %.2f |", fit.slope, fit.error);
}

/* Times of a series, with the ends of their intervals. */
typedef struct Times {
    int n;
    double x[MAX_POINTS], y[MAX_POINTS], lo[MAX_POINTS], hi[MAX_POINTS];
} Times;

static void times_of(const Series *s, Times *t)
{
    t->n = 0;
    if (s->n > MAX_POINTS)
        return;
    series_points(s, micros_per_token_lo, t->x, t->lo);
    series_points(s, micros_per_token_hi, t->x, t->hi);
    t->n = series_points(s, micros_per_token, t->x, t->y);
}

/* One end of the interval of a crossing: open where the shifted curves cross outside of the sweep.
 */
static void cross_end(FILE *f, Cross c, CrossKind kind, bool first)
{
    if (c.kind == kind)
        fprintf(f, "%s", text_length(c.at).s);
    else if (first)
        fprintf(f, "below %s", text_length(c.from).s);
    else
        fprintf(f, "above %s", text_length(c.to).s);
}

/* From where to where a variant is faster, in words. lower and higher are the same crossing with
 * both ends of all intervals in the variant's favour, and against it. */
static void cross_words(FILE *f, Cross c, Cross lower, Cross higher)
{
    Text from = text_length(c.from), to = text_length(c.to);
    bool down = c.kind == CROSS_DOWN;
    char span[80];
    snprintf(span, sizeof span, "%s%s%s", from.s, c.from < c.to ? " to " : "",
             c.from < c.to ? to.s : "");
    if (c.kind == CROSS_NONE)
        fprintf(f, " no common length |");
    else if (lower.kind == CROSS_BELOW && higher.kind == CROSS_ABOVE)
        fprintf(f, " no clear difference, %s |", span);
    else if (c.kind == CROSS_BELOW)
        fprintf(f, " at all lengths compared, %s |", span);
    else if (c.kind == CROSS_ABOVE)
        fprintf(f, " not within the sweep, %s |", span);
    else if (c.n > 1)
        fprintf(f, " back and forth between %s and %s |", text_length(c.at).s,
                text_length(c.last).s);
    else {
        fprintf(f, " %s %s (", down ? "from" : "only up to", text_length(c.at).s);
        cross_end(f, down ? lower : higher, c.kind, true);
        fprintf(f, " to ");
        cross_end(f, down ? higher : lower, c.kind, false);
        fprintf(f, ") |");
    }
}

static void cross_cell(FILE *f, const Series *s, const Series *base)
{
    Times a, b;
    if (base == NULL) {
        fprintf(f, " no equal setting |");
        return;
    }
    if (s == base) {
        fprintf(f, " itself |");
        return;
    }
    times_of(s, &a);
    times_of(base, &b);
    Curve mid = {a.n, a.x, a.y}, lo = {a.n, a.x, a.lo}, hi = {a.n, a.x, a.hi};
    Curve base_mid = {b.n, b.x, b.y}, base_lo = {b.n, b.x, b.lo}, base_hi = {b.n, b.x, b.hi};
    cross_words(f, curve_cross(mid, base_mid), curve_cross(lo, base_hi), curve_cross(hi, base_lo));
}

/* ---- tables ---- */

static void header(FILE *f, const int64_t *at, int n, const char *before, const char *after)
{
    for (int i = 0; i < n; i++)
        fprintf(f, " %s%s%s |", before, text_length((double)at[i]).s, after);
}

static void rule(FILE *f, int n_words, int n_numbers, int n_more_words)
{
    fprintf(f, "\n|");
    for (int i = 0; i < n_words + n_numbers + n_more_words; i++)
        fprintf(f, "%s|", i >= n_words && i < n_words + n_numbers ? "---:" : "---");
    fprintf(f, "\n");
}

static void speed_table(FILE *f, const Headline *h)
{
    fprintf(f, "| variant | parameters |");
    header(f, h->length, h->n_lengths, "µs/token at ", "");
    fprintf(f, " time grows as | largest T | peak memory there | stopped by |");
    rule(f, 1, h->n_lengths + 4, 1);
    for (const Series *s = h->forward.item; s < h->forward.item + h->forward.n; s++) {
        const Row *last = series_last_ok(s), *stop = series_stop(s);
        fprintf(f, "| %s | %s |", s->label, text_count((double)s->row[0]->params).s);
        for (int i = 0; i < h->n_lengths; i++)
            micros_cell(f, s, h->length[i]);
        exponent_cell(f, s);
        fprintf(f, " %s | %s |", last != NULL ? text_length((double)last->c.n).s : "none",
                last != NULL ? text_bytes(counted_bytes(last)).s : "-");
        if (stop != NULL)
            fprintf(f, " %s at %s |\n", stop_words(stop->status), text_length((double)stop->c.n).s);
        else
            fprintf(f, " the sweep ends there |\n");
    }
}

/* Do two series differ in the variant, its heads and options alone? */
static bool comparable(const Series *s, const Series *t)
{
    const Case *c = &s->row[0]->c, *d = &t->row[0]->c;
    bool same = c->width == d->width && c->layers == d->layers && c->causal == d->causal &&
                c->threads == d->threads && c->hot == d->hot && strcmp(c->dtype, d->dtype) == 0 &&
                strcmp(c->backend, d->backend) == 0;
    for (int i = 0; same && i < s->n; i++) {
        const Row *other = series_at(t, s->row[i]->c.n);
        same = other == NULL || other->c.batch == s->row[i]->c.batch;
    }
    return same;
}

/* The series of vanilla attention to compare s with, or any when s is NULL; NULL when there is none
 * that was measured. */
static const Series *vanilla(const SeriesSet *set, Impl impl, const Series *s)
{
    for (const Series *t = set->item; t < set->item + set->n; t++)
        if (strcmp(t->row[0]->c.variant, "vanilla") == 0 && t->row[0]->c.impl == impl &&
            series_last_ok(t) != NULL && (s == NULL || s == t || comparable(s, t)))
            return t;
    return NULL;
}

/* Test bits per byte of the training of a variant that is best on the validation part: the test
 * part has no say in the choice. NaN when it was not trained. */
static double best_bpb(const Headline *h, const Series *s)
{
    const Row *best = NULL;
    for (const Series *t = h->trained.item; t < h->trained.item + h->trained.n; t++) {
        const Row *r = t->row[0];
        const Case *c = &s->row[0]->c;
        if (r->status == ROW_OK && r->c.impl == c->impl && strcmp(r->c.variant, c->variant) == 0)
            best = best == NULL || r->valid_bpb < best->valid_bpb ? r : best;
    }
    return best != NULL ? best->test_bpb : (double)NAN;
}

static void versus_table(FILE *f, const Headline *h)
{
    bool shown[IMPLS];
    fprintf(f, "| variant |");
    for (Impl i = 0; i < IMPLS; i++) {
        shown[i] = vanilla(&h->forward, i, NULL) != NULL;
        if (shown[i])
            fprintf(f, " faster than vanilla (%s) |", impl_names[i]);
    }
    header(f, h->depth, h->n_depths, "decode, µs at depth ", "");
    fprintf(f, " test bits per byte |");
    rule(f, 1 + shown[IMPL_TILED] + shown[IMPL_NAIVE], h->n_depths + 1, 0);
    for (const Series *s = h->forward.item; s < h->forward.item + h->forward.n; s++) {
        fprintf(f, "| %s |", s->label);
        for (Impl i = 0; i < IMPLS; i++)
            if (shown[i])
                cross_cell(f, s, vanilla(&h->forward, i, s));
        const Series *decode = series_twin(&h->decode, s);
        for (int i = 0; i < h->n_depths; i++)
            micros_cell(f, decode, h->depth[i]);
        fprintf(f, " %s |\n", text_fixed(best_bpb(h, s), 3).s);
    }
}

static void write_headline(FILE *f, Headline *h)
{
    static const int64_t lengths[ANCHORS] = {512, 4096, 65536}, depths[] = {1024, 65536};
    static const char *const what[LEVELS] = {"token mixing alone", "one layer", "a whole model"};
    h->n_lengths = pick(&h->forward, lengths, ANCHORS, h->length);
    h->n_depths = pick(&h->decode, depths, COUNT(depths), h->depth);
    fprintf(f, "## How the variants compare\n\n");
    fprintf(f,
            "Forward pass of %s: the median time, divided by the tokens in it. The time of a "
            "whole sequence grows as a power of its length T, fitted to the largest %d lengths; "
            "quadratic attention tends to T^2, linear methods to T^1.\n\n",
            what[h->level], FIT_POINTS);
    speed_table(f, h);
    fprintf(f,
            "\nFrom which length on a variant is faster than vanilla attention, by interpolation "
            "between measured lengths, in brackets with what the 99 %% intervals of the times "
            "allow; the time to decode one more token; and how well it models text: the test part, "
            "for the training that is best on the validation part.\n\n");
    versus_table(f, h);
    fprintf(f, "\n");
}

Status table_headline(FILE *f, const Rows *rows)
{
    static const Level order[] = {LEVEL_LAYER, LEVEL_MODEL, LEVEL_MIX};
    Headline h = {0};
    Status st = ST_OK;
    for (int i = 0; st == ST_OK && h.forward.n == 0 && i < COUNT(order); i++) {
        series_free(&h.forward);
        h.level = order[i];
        st = series_of_cases(rows, h.level, PASS_FWD, &h.forward);
    }
    if (st == ST_OK)
        st = series_of_cases(rows, h.level, PASS_DECODE, &h.decode);
    if (st == ST_OK)
        st = series_of_trainings(rows, &h.trained);
    if (st == ST_OK && h.forward.n > 0)
        write_headline(f, &h);
    series_free(&h.forward);
    series_free(&h.decode);
    series_free(&h.trained);
    return st;
}
