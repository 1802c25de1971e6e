/* tables_decode.c - one token from cold caches by model size: measured against the byte model. */
#include "report/decode.h"
#include "report/tables.h"

#include "report/format.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_decode(const Row *r)
{
    return r->kind == ROW_CASE && r->c.size[0] != '\0' && r->c.pass == PASS_DECODE;
}

double decode_seconds(const Row *r)
{
    return r->timing.median;
}

static int by_size(const void *x, const void *y)
{
    const Row *a = *(const Row *const *)x, *b = *(const Row *const *)y;
    int level = (int)a->c.level - (int)b->c.level, width = a->c.width - b->c.width;
    if (level != 0 || width != 0)
        return level != 0 ? level : width;
    return (a->bytes < b->bytes) - (a->bytes > b->bytes); /* the dense one first */
}

Status decode_rows(const Rows *rows, DecodeRows *out)
{
    *out = (DecodeRows){.row = calloc((size_t)rows->n + 1, sizeof *out->row)};
    if (out->row == NULL)
        return FAIL(ST_OOM, "no memory for %d rows", rows->n);
    for (int i = 0; i < rows->n; i++)
        if (is_decode(&rows->row[i]) && rows->row[i].status == ROW_OK)
            out->row[out->n++] = &rows->row[i];
    qsort(out->row, (size_t)out->n, sizeof *out->row, by_size);
    const Row *roof = rows_last(rows, ROW_ROOF);
    out->bandwidth = roof != NULL ? roof->read_bandwidth : (double)NAN;
    out->rate = roof != NULL ? fmax(roof->sgemm_own, roof->sgemm_blas) : (double)NAN;
    return ST_OK;
}

const Row *decode_dense(const DecodeRows *d, const Row *r)
{
    for (int i = 0; i < d->n; i++)
        if (strcmp(d->row[i]->c.variant, "vanilla") == 0 && d->row[i]->c.level == r->c.level &&
            strcmp(d->row[i]->c.size, r->c.size) == 0 && d->row[i]->c.layers == r->c.layers)
            return d->row[i];
    return NULL;
}

double decode_speedup(const DecodeRows *d, const Row *r)
{
    const Row *dense = decode_dense(d, r);
    return dense != NULL ? decode_seconds(dense) / decode_seconds(r) : (double)NAN;
}

double decode_byte_speedup(const DecodeRows *d, const Row *r)
{
    const Row *dense = decode_dense(d, r);
    return dense != NULL ? dense->bytes / r->bytes : (double)NAN;
}

/* Seconds where bytes and operations take their time one after the other. */
static double both_limits(const DecodeRows *d, const Row *r)
{
    return r->bytes / d->bandwidth + r->flops / d->rate;
}

static void put_row(FILE *f, const DecodeRows *d, const Row *r)
{
    const Row *dense = decode_dense(d, r);
    double seconds = decode_seconds(r), speedup = decode_speedup(d, r);
    double bytes = decode_byte_speedup(d, r);
    double both = dense != NULL ? both_limits(d, dense) / both_limits(d, r) : (double)NAN;
    fprintf(f, "| %s | %d | ", r->c.size, r->c.width);
    put_text(f, r->c.variant);
    fprintf(f, " | %d | %s | %s | %s |", r->c.layers, text_seconds(seconds).s,
            text_bytes(r->bytes).s, text_seconds(r->bytes / d->bandwidth).s);
    fprintf(f, " %s | %s | %s | %s |\n", text_digits(speedup).s, text_digits(bytes).s,
            text_digits(speedup / bytes).s, text_digits(speedup / both).s);
}

static void put_level(FILE *f, const DecodeRows *d, Level level)
{
    int n = 0;
    for (int i = 0; i < d->n; i++)
        n += d->row[i]->c.level == level;
    if (n == 0)
        return;
    fprintf(f, "### %s\n\n", level == LEVEL_MODEL ? "Whole models" : "One block");
    fprintf(f,
            "| size | D | variant | layers | time of a token | bytes touched | bytes / bandwidth |"
            " times dense | by the byte model | part of it | part of bytes and operations |\n"
            "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (int i = 0; i < d->n; i++)
        if (d->row[i]->c.level == level)
            put_row(f, d, d->row[i]);
    fprintf(f, "\n");
}

/* ---- what keeps a block from the byte model's speed-up ---- */
static const double PART = 0.7; /* of that speed-up: what is asked for */
enum { WIDE = 2048, COSTS = 3 };

/* The watched steps of the same case, or NULL. */
static const Row *watched(const Rows *rows, const Row *r)
{
    char key[ROW_KEY_SIZE], other[ROW_KEY_SIZE];
    case_key(&r->c, key, sizeof key);
    for (const Row *ops = rows->row; ops < rows->row + rows->n; ops++) {
        if (ops->kind != ROW_OPS || ops->status != ROW_OK)
            continue;
        case_key(&ops->c, other, sizeof other);
        if (strcmp(key, other) == 0)
            return ops;
    }
    return NULL;
}

static bool falls_short(const DecodeRows *d, const Row *r)
{
    return r->c.level == LEVEL_LAYER && r->c.width >= WIDE && r != decode_dense(d, r) &&
           decode_speedup(d, r) < PART * decode_byte_speedup(d, r);
}

/* Part of the step in ops whose operations outlast their bytes. */
static double arithmetic(const DecodeRows *d, const Row *ops)
{
    double sum = 0;
    for (const OpShare *op = ops->op; op < ops->op + ops->n_ops; op++)
        sum += op->flops / d->rate > op->bytes / d->bandwidth ? op->seconds : 0;
    return sum / ops->watched_seconds;
}

static void put_costs(FILE *f, const DecodeRows *d, const Row *r, const Row *ops)
{
    fprintf(f, "| %s | ", r->c.size);
    put_text(f, r->c.variant);
    fprintf(f, " | %s |", text_percent(arithmetic(d, ops)).s);
    for (int i = 0; i < COSTS; i++) {
        const OpShare *op = &ops->op[i];
        if (i >= ops->n_ops) {
            fprintf(f, " |");
            continue;
        }
        double bytes = op->bytes / d->bandwidth, both = bytes + op->flops / d->rate;
        fprintf(f, " ");
        put_text(f, op->op);
        fprintf(f, " %s: %s, %s |", text_percent(op->seconds / ops->watched_seconds).s,
                text_digits(bytes / op->seconds).s, text_digits(both / op->seconds).s);
    }
    fprintf(f, "\n");
}

/* Steps of decode_rows that fall short and were watched. */
static void put_short(FILE *f, const Rows *rows, const DecodeRows *d)
{
    bool any = false;
    for (int i = 0; i < d->n; i++) {
        const Row *r = d->row[i], *ops = falls_short(d, r) ? watched(rows, r) : NULL;
        if (ops == NULL)
            continue;
        if (!any)
            fprintf(f,
                    "Blocks of width %d or more that reach less than %.1f of the byte model's "
                    "speed-up: the part of the token in ops whose operations at the SGEMM rate "
                    "outlast their bytes at the bandwidth, and the three largest costs, each with "
                    "its share of the token, the part of its own time that its bytes take at the "
                    "bandwidth, and the part that bytes and then operations take.\n\n"
                    "| size | variant | limited by operations | largest | second | third |\n"
                    "|---|---|---:|---|---|---|\n",
                    WIDE, PART);
        any = true;
        put_costs(f, d, r, ops);
    }
    if (any)
        fprintf(f, "\n");
}

Status table_decode(FILE *f, const Rows *rows)
{
    DecodeRows d;
    TRY(decode_rows(rows, &d));
    if (d.n > 0) {
        fprintf(f,
                "## One token, unbatched, by model size\n\n"
                "Each token is new and starts from cold caches (twice the last cache is written "
                "before it, outside the clock); medians of samples that are means of some tokens. "
                "The byte model takes the "
                "weights, caches and activations that the operations touch, once each. \"Part of "
                "bytes and operations\" divides by the speed-up that bytes at the bandwidth "
                "plus operations at the SGEMM rate would have: multiplicative layers save "
                "bytes, not operations. Sizes that do not fit run the layers that do.\n\n");
        put_level(f, &d, LEVEL_LAYER);
        put_short(f, rows, &d);
        put_level(f, &d, LEVEL_MODEL);
    }
    free(d.row);
    return ST_OK;
}
