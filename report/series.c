/* series.c - rows grouped into lines. */
#include "report/series.h"

#include "report/fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- measures ---- */

static double per_token(const Row *r, double seconds)
{
    return r->tokens > 0 ? 1e6 * seconds / (double)r->tokens : (double)NAN;
}
double micros_per_token(const Row *r)
{
    return per_token(r, r->timing.median);
}
double micros_per_token_p20(const Row *r)
{
    return per_token(r, r->timing.p20);
}
double micros_per_token_p80(const Row *r)
{
    return per_token(r, r->timing.p80);
}
double micros_per_token_lo(const Row *r)
{
    return per_token(r, r->timing.ci_lo);
}
double micros_per_token_hi(const Row *r)
{
    return per_token(r, r->timing.ci_hi);
}
double seconds_per_sequence(const Row *r)
{
    return r->timing.median / (double)r->c.batch;
}
double counted_bytes(const Row *r)
{
    return (double)r->memory.counted;
}
double predicted_bytes(const Row *r)
{
    return (double)r->predicted.counted;
}
double percent_of_sgemm(const Row *r)
{
    return r->roof == ROOF_SGEMM ? 100 * r->roof_fraction : (double)NAN;
}

/* ---- grouping ---- */

/* Does a field of a case tell one series from another? */
static bool identifies(const Field *f)
{
    return f->offset != offsetof(Case, n) && f->offset != offsetof(Case, batch) &&
           f->offset != offsetof(Case, time_limit) && f->offset != offsetof(Case, mem_limit);
}

/* Variants by rank and name, then the other fields of the case. */
static int compare_identity(const Case *a, const Case *b)
{
    int order = style_of(a->variant).rank - style_of(b->variant).rank;
    for (const Field *f = case_fields; order == 0 && f->name != NULL; f++)
        if (identifies(f))
            order = field_compare(f, a, b);
    return order;
}

static int by_length(const void *a, const void *b)
{
    const Row *s = *(const Row *const *)a, *t = *(const Row *const *)b;
    int order = compare_identity(&s->c, &t->c);
    if (order == 0)
        order = (s->c.n > t->c.n) - (s->c.n < t->c.n);
    if (order == 0)
        order = (s->c.batch > t->c.batch) - (s->c.batch < t->c.batch);
    return order != 0 ? order : (s > t) - (s < t);
}

static int by_batch(const void *a, const void *b)
{
    const Row *s = *(const Row *const *)a, *t = *(const Row *const *)b;
    int order = compare_identity(&s->c, &t->c);
    if (order == 0)
        order = (s->c.batch > t->c.batch) - (s->c.batch < t->c.batch);
    return order != 0 ? order : by_length(a, b);
}

static bool allocate(SeriesSet *set, int n)
{
    *set = (SeriesSet){.item = calloc((size_t)n + 1, sizeof *set->item),
                       .rows = calloc((size_t)n + 1, sizeof *set->rows)};
    if (set->item != NULL && set->rows != NULL)
        return true;
    series_free(set);
    return false;
}

void series_free(SeriesSet *s)
{
    free(s->item);
    free(s->rows);
    *s = (SeriesSet){0};
}

/* Appends what tells a series from another of its variant: " (naive, width 512)". */
static void say_field(Series *s, const Field *f, const Case *c, bool first)
{
    size_t used = strlen(s->label);
    char value[200];
    field_text(f, c, value, sizeof value);
    if (f->offset == offsetof(Case, causal))
        snprintf(value, sizeof value, "%s", c->causal ? "causal" : "bidirectional");
    if (f->offset == offsetof(Case, hot))
        snprintf(value, sizeof value, "%s", c->hot ? "hot" : "cold");
    bool number = f->type == FIELD_INT || f->type == FIELD_I64 || f->type == FIELD_U64;
    snprintf(s->label + used, sizeof s->label - used, "%s%s%s%s", first ? " (" : ", ",
             number ? f->name : "", number ? " " : "", value[0] != '\0' ? value : "plain");
}

/* A label goes into scripts that gnuplot runs, and a journal may come from anyone: only harmless
 * characters stay. */
static void make_harmless(char *label)
{
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   " _.,:;=()+-/%";
    for (char *p = label; *p != '\0'; p++)
        if (strchr(harmless, *p) == NULL)
            *p = '?';
}

/* Is there a series of the same variant that differs in this field? */
static bool varies(const SeriesSet *set, const Field *f, const Case *c)
{
    for (int i = 0; i < set->n; i++) {
        const Case *other = &set->item[i].row[0]->c;
        if (strcmp(other->variant, c->variant) == 0 && field_compare(f, other, c) != 0)
            return true;
    }
    return false;
}

static void name_series(SeriesSet *set, bool batch_tells)
{
    for (Series *s = set->item; s < set->item + set->n; s++) {
        const Case *c = &s->row[0]->c;
        bool again = s > set->item && strcmp(s[-1].row[0]->c.variant, c->variant) == 0;
        s->style = style_of(c->variant);
        s->nth = again ? s[-1].nth + 1 : 0;
        snprintf(s->label, sizeof s->label, "%s", c->variant);
        bool first = true;
        for (const Field *f = case_fields + 1; f->name != NULL; f++) {
            bool naive = f->offset == offsetof(Case, impl) && c->impl == IMPL_NAIVE;
            bool tells = identifies(f) || (batch_tells && f->offset == offsetof(Case, batch));
            if (!tells || (!naive && !varies(set, f, c)))
                continue;
            say_field(s, f, c, first);
            first = false;
        }
        if (!first)
            strncat(s->label, ")", sizeof s->label - strlen(s->label) - 1);
        make_harmless(s->label);
    }
}

/* Cuts n sorted rows into series. False when a series has two rows of one length. */
static bool cut(SeriesSet *set, int n, bool batch_tells)
{
    bool single = true;
    set->n = 0;
    for (int i = 0; i < n; i++) {
        const Case *c = &set->rows[i]->c, *before = i > 0 ? &set->rows[i - 1]->c : NULL;
        bool same = i > 0 && compare_identity(before, c) == 0 &&
                    (!batch_tells || before->batch == c->batch);
        if (!same)
            set->item[set->n++] = (Series){.row = &set->rows[i]};
        single = single && !(same && before->n == c->n);
        set->item[set->n - 1].n++;
    }
    return single;
}

Status series_of_cases(const Rows *rows, Level level, Pass pass, SeriesSet *out)
{
    if (!allocate(out, rows->n))
        return FAIL(ST_OOM, "no memory for %d rows", rows->n);
    int n = 0;
    for (int i = 0; i < rows->n; i++) {
        const Row *r = &rows->row[i];
        if (r->kind == ROW_CASE && r->c.level == level && r->c.pass == pass && r->c.size[0] == '\0')
            out->rows[n++] = r;
    }
    qsort(out->rows, (size_t)n, sizeof *out->rows, by_length);
    bool batch_tells = !cut(out, n, false);
    if (batch_tells) {
        qsort(out->rows, (size_t)n, sizeof *out->rows, by_batch);
        cut(out, n, true);
    }
    name_series(out, batch_tells);
    return ST_OK;
}

/* Trainings may differ in what is no field of the case: the learning rate and the steps. */
static void name_trainings(SeriesSet *set)
{
    for (int i = 1; i < set->n; i++) {
        Series *s = &set->item[i], *before = s - 1;
        if (compare_identity(&s->row[0]->c, &before->row[0]->c) != 0)
            continue;
        for (Series *t = before; t <= s; t++) {
            size_t used = strlen(t->label);
            if (strstr(t->label, ", lr ") == NULL)
                snprintf(t->label + used, sizeof t->label - used, ", lr %g", t->row[0]->lr);
        }
    }
}

Status series_of_trainings(const Rows *rows, SeriesSet *out)
{
    if (!allocate(out, rows->n))
        return FAIL(ST_OOM, "no memory for %d rows", rows->n);
    int n = 0;
    for (int i = 0; i < rows->n; i++)
        if (rows->row[i].kind == ROW_TRAIN)
            out->rows[n++] = &rows->row[i];
    qsort(out->rows, (size_t)n, sizeof *out->rows, by_batch);
    for (out->n = 0; out->n < n; out->n++)
        out->item[out->n] = (Series){.row = &out->rows[out->n], .n = 1};
    name_series(out, true);
    name_trainings(out);
    return ST_OK;
}

/* ---- questions ---- */

int series_points(const Series *s, Measure *measure, double *x, double *y)
{
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        double value = s->row[i]->status == ROW_OK ? measure(s->row[i]) : (double)NAN;
        if (!isfinite(value) || value <= 0)
            continue;
        x[n] = (double)s->row[i]->c.n;
        y[n++] = value;
    }
    return n;
}

const Row *series_last_ok(const Series *s)
{
    for (int i = s->n - 1; i >= 0; i--)
        if (s->row[i]->status == ROW_OK)
            return s->row[i];
    return NULL;
}

const Row *series_stop(const Series *s)
{
    const Row *stop = NULL;
    for (int i = s->n - 1; i >= 0 && s->row[i]->status != ROW_OK; i--)
        stop = s->row[i];
    return stop;
}

const Row *series_at(const Series *s, int64_t n)
{
    for (int i = 0; i < s->n; i++)
        if (s->row[i]->c.n == n && s->row[i]->status == ROW_OK)
            return s->row[i];
    return NULL;
}

const Series *series_twin(const SeriesSet *set, const Series *s)
{
    const Case *c = &s->row[0]->c;
    for (const Series *t = set->item; t < set->item + set->n; t++) {
        const Case *d = &t->row[0]->c;
        if (strcmp(c->variant, d->variant) == 0 && strcmp(c->backend, d->backend) == 0 &&
            strcmp(c->dtype, d->dtype) == 0 && strcmp(c->set, d->set) == 0 && c->impl == d->impl &&
            c->width == d->width && c->causal == d->causal)
            return t;
    }
    return NULL;
}
