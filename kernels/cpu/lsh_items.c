/* lsh_items.c - buckets, the order of the items, and rows gathered in that order. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/cpu/lsh.h"
#include "kernels/cpu/rows.h"

/* ---- hashing: y' = R'x' for a tile of positions, so that lanes are positions ---- */
enum { HASH_ROWS = 96 }; /* positions of a tile: whole panels of NR */

typedef struct Hash {
    const LshHash *a;
    int cols;         /* of the larger of the two factors' matrices */
    int64_t rot_size; /* floats of a packed matrix of one factor */
    int64_t mine;     /* floats of one thread */
    float *rot;       /* (H, rounds, 2) packed */
    float *scratch;
} Hash;

/* argmax over [y ; -y], y (n / 2, HASH_ROWS); the first of equal ones. */
static vi best_of(const float *y, int n)
{
    vf best = vset(-INFINITY);
    vi at = {0};
    for (int i = 0; i < n; i++) {
        const vf x = i < n / 2 ? vload(y + i * HASH_ROWS) : -vload(y + (i - n / 2) * HASH_ROWS);
        const vi more = x > best;
        at = (vi)vselect(more, (vf)((vi){0} + i), (vf)at);
        best = vselect(more, x, best);
    }
    return at;
}

/* Adds `times` bucket numbers of one factor to those of m positions. */
static void add_factor(const Hash *f, const float *rot, const float *x, int m, int n, int times,
                       float *y, int32_t *bucket)
{
    const int d = f->a->d;
    CPU(tile_mm)
    (n / 2, (int)round_up(m, VW), d, a_packed(rot, d), b_packed(x, d), y, HASH_ROWS, TILE_SET);
    for (int i = 0; i < m; i += VW) {
        const vi at = best_of(y + i, n);
        for (int j = 0; j < VW && i + j < m; j++)
            bucket[i + j] += times * at[j];
    }
}

static void hash_tile(const Hash *f, int64_t pair, int64_t t0)
{
    const LshHash *a = f->a;
    const int64_t h = pair % a->heads, b = pair / a->heads, width = (int64_t)a->heads * a->d;
    const int m = (int)min64(HASH_ROWS, a->len - t0);
    float *x = f->scratch + omp_get_thread_num() * f->mine, *y = x + (int64_t)HASH_ROWS * a->d;
    CPU(pack_cols)
    (NR, a->d, m, (const float *)a->x + (b * a->len + t0) * width + h * a->d, width, 1.0f, x);
    for (int r = 0; r < a->rounds; r++) {
        int32_t *bucket = a->bucket + (pair * a->rounds + r) * a->len + t0;
        const float *rot = f->rot + (h * a->rounds + r) * 2 * f->rot_size;
        memset(bucket, 0, (size_t)m * sizeof *bucket);
        if (a->n1 > 0)
            add_factor(f, rot, x, m, a->n1, 1, y, bucket);
        if (a->n2 > 0)
            add_factor(f, rot + f->rot_size, x, m, a->n2, a->n1, y, bucket);
        for (int i = 0; i < m && a->lens != NULL; i++)
            if (a->pos + t0 + i >= a->lens[b])
                bucket[i] = a->n1 * (a->n2 > 0 ? a->n2 : 1);
    }
}

static void pack_rotation(const Hash *f, int64_t n)
{
    const LshHash *a = f->a;
    const int64_t row = (a->n1 + a->n2) / 2;
    const float *rot = (const float *)a->rot + n * a->d * row;
    float *to = f->rot + n * 2 * f->rot_size;
    CPU(pack_rows)(MR, a->d, a->n1 / 2, rot, row, 1.0f, to);
    CPU(pack_rows)(MR, a->d, a->n2 / 2, rot + a->n1 / 2, row, 1.0f, to + f->rot_size);
}

Status CPU(lsh_hash)(Dev *d, const LshHash *a)
{
    Hash f = {.a = a, .cols = (int)max64(a->n1, a->n2) / 2};
    void *scratch;
    const int64_t tiles = ceil_div(a->len, HASH_ROWS), pairs = a->batch * a->heads;
    const int64_t matrices = a->n1 > 0 ? (int64_t)a->heads * a->rounds : 0;
    f.rot_size = round_up((int64_t)pack_size(MR, a->d, f.cols), 16);
    f.mine = (int64_t)HASH_ROWS * (a->d + f.cols);
    const int64_t packed = matrices * 2 * f.rot_size;
    TRY(dev_scratch(d, (size_t)(packed + omp_get_max_threads() * f.mine) * sizeof(float),
                    &scratch));
    f.rot = scratch;
    f.scratch = f.rot + packed;
#pragma omp parallel if (pairs * a->rounds * a->len * a->d * max64(1, f.cols) >= 4 * PARALLEL_FROM)
    {
#pragma omp for schedule(static)
        for (int64_t n = 0; n < matrices; n++)
            pack_rotation(&f, n);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < pairs * tiles; n++)
            hash_tile(&f, n / tiles, n % tiles * HASH_ROWS);
    }
    for (int i = 0; i < 2; i++)
        dev_count_flops(d, (double)(pairs * a->rounds) *
                               tile_flops((i == 0 ? a->n1 : a->n2) / 2, a->len, a->d));
    return ST_OK;
}

/* ---- order: counting sort, stable, so that positions break ties ---- */
static void sort_round(const Lsh *a, int64_t pair, int64_t r, int32_t *order, int32_t *place,
                       int32_t *count)
{
    const int32_t *bucket = a->bucket + (pair * a->rounds + r) * a->len;
    const int64_t valid = lsh_valid(a, pair / a->heads);
    const int32_t first = (int32_t)(r * a->padded);
    memset(count, 0, (size_t)(a->n_buckets + 1) * sizeof *count);
    for (int64_t t = 0; t < valid; t++) {
        CHECK(bucket[t] >= 0 && bucket[t] < a->n_buckets);
        count[bucket[t] + 1]++;
    }
    for (int i = 0; i < a->n_buckets; i++)
        count[i + 1] += count[i];
    for (int64_t t = 0; t < valid; t++) {
        const int32_t to = count[bucket[t]]++;
        order[to] = (int32_t)t;
        place[t] = first + to;
    }
    for (int64_t n = valid; n < a->padded; n++)
        order[n] = -1;
}

void CPU(lsh_sort)(const LshPlan *f, int64_t first, int64_t n, int32_t *count)
{
    const Lsh *a = f->a;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < n * a->rounds; t++)
        sort_round(a, first + t / a->rounds, t % a->rounds, f->order + t * a->padded,
                   f->place + t * a->len, count + omp_get_thread_num() * (a->n_buckets + 1));
}

LshPlan CPU(lsh_plan)(const Lsh *a)
{
    LshPlan f = {.a = a,
                 .items = a->rounds * a->padded,
                 .pairs = a->batch * a->heads,
                 .strip = LSH_STRIP,
                 .near = a->before + 1 + a->after,
                 .q_ld = tile_pad(a->d),
                 .v_ld = tile_pad(a->dv)};
    f.chunks = f.items / a->chunk;
    while (f.strip > 1 && f.pairs * ceil_div(f.chunks, f.strip) < LSH_TASKS)
        f.strip /= 2;
    f.strips = ceil_div(f.chunks, f.strip);
    CHECK(f.chunks * a->chunk == f.items && f.items < LSH_NONE);
    return f;
}

/* ---- rows ---- */
float CPU(lsh_dot)(const float *x, const float *y, int n)
{
    vf sum = vset(0);
    int c = 0;
    for (; c + VW <= n; c += VW)
        sum += vload(x + c) * vload(y + c);
    sum += vload_n(x + c, n - c) * vload_n(y + c, n - c);
    return vsum(sum);
}

enum { AHEAD = 16 }; /* rows asked for in advance: they lie anywhere */

static void ask_for(const float *row, int n)
{
    for (int c = 0; c < n; c += 16)
        __builtin_prefetch(row + c);
}

/* Zeros from n to the next multiple of NR. */
static void copy_row(const float *x, int n, float *to)
{
    int c = 0;
    for (; c + VW <= n; c += VW)
        vstore(to + c, vload(x + c));
    for (; c < round_up(n, NR); c += VW)
        vstore(to + c, c < n ? vload_n(x + c, n - c) : vset(0));
}

void CPU(lsh_gather)(const Lsh *a, int64_t pair, const void *base, int width, const int32_t *at,
                     int64_t n, float *dst, int64_t ld)
{
    for (int64_t i = 0; i < n; i++, dst += ld) {
        if (i + AHEAD < n && at[i + AHEAD] >= 0)
            ask_for((const float *)base + lsh_row(a, pair, at[i + AHEAD], width), width);
        if (at[i] < 0)
            memset(dst, 0, (size_t)round_up(width, NR) * sizeof *dst);
        else
            copy_row((const float *)base + lsh_row(a, pair, at[i], width), width, dst);
    }
}

void CPU(lsh_keys)(const Lsh *a, int64_t pair, const int32_t *at, int64_t n, float *dst, int64_t ld,
                   float *c)
{
    const float eps = LSH_EPS * (float)a->d;
    CPU(lsh_gather)(a, pair, a->q, a->d, at, n, dst, ld);
    for (int64_t i = 0; i < n; i++, dst += ld) {
        const float one = 1.0f / sqrtf(CPU(lsh_dot)(dst, dst, a->d) + eps);
        row_scale(dst, dst, a->d, one);
        if (c != NULL)
            c[i] = one;
    }
}
