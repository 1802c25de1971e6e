/* modconv.c - convolution over positions and modules, as matrix products.
 *
 * A row is one (position, module); its neighbourhood, taps x side vectors of `in` numbers, is one
 * line of K = taps side in numbers, of which those of a tap lie together. Many rows: a task makes
 * some positions of one module, tap by tap, from x where it lies. Few rows, those at an end of the
 * sequence, and wide taps: a task lays the lines of some rows side by side (in L2). The weights are
 * packed once for all. The gradient of x is the same convolution of dy, with the weights turned
 * round and rows of the future in place of the past; that of the weights sums lines' dy by fixed
 * slabs of rows. */
#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

enum {
    MT = 96 / MR * MR, /* rows of a task */
    KB = 256,          /* of K at a time */
    TAP_MOST = 384,    /* of a tap that is read in place: a panel of its weights fits L1 */
    DW_SLABS = 8,
    DW_ROWS = 4 * MT /* at least, of a slab */
};

/* first: position of tap 0, relative to the row's. */
typedef struct Plan {
    int64_t batch, len;
    int modules, in, out, taps, side, first;
    const float *x, *halo, *bias;
    float *y;
    bool add;
    const float *w; /* (K, out): in panels, or as it is */
    bool packed, in_place;
    int kb; /* of K at a time: a tap, or KB */
    double *flops;
} Plan;

static int64_t rows_of(const Plan *p)
{
    return p->batch * p->len * p->modules;
}
static int line_of(const Plan *p)
{
    return p->taps * p->side * p->in;
}

/* The modules of position t, or NULL where there are none. */
static const float *position(const Plan *p, int64_t b, int64_t t)
{
    const int64_t before = p->taps - 1, width = (int64_t)p->modules * p->in;
    if (t >= 0 && t < p->len)
        return p->x + (b * p->len + t) * width;
    return t < 0 && p->halo != NULL ? p->halo + (b * before + before + t) * width : NULL;
}

static void fill_line(const Plan *p, int64_t row, float *line)
{
    const int64_t s = row % p->modules, t = row / p->modules % p->len;
    const int64_t b = row / p->modules / p->len, s0 = s - (p->side - 1) / 2;
    const int64_t lo = max64(0, -s0), hi = min64(p->side, p->modules - s0);
    const size_t vector = (size_t)p->in * sizeof(float);
    for (int k = 0; k < p->taps; k++, line += p->side * p->in) {
        const float *x = position(p, b, t + p->first + k);
        memset(line, 0, (size_t)(x != NULL ? lo : p->side) * vector);
        if (x == NULL)
            continue;
        memcpy(line + lo * p->in, x + (s0 + lo) * p->in, (size_t)(hi - lo) * vector);
        memset(line + hi * p->in, 0, (size_t)(p->side - hi) * vector);
    }
}

static void fill_lines(const Plan *p, int64_t row, int n, float *lines, int64_t ld)
{
    for (int i = 0; i < n; i++)
        fill_line(p, row + i, lines + i * ld);
}

/* Few rows read the weights once, and do so where they lie if these are whole panels. */
static bool wants_packing(const Plan *p)
{
    return rows_of(p) > MT || p->out % NR != 0;
}

/* w (K, out) in blocks of kb rows, each in panels. */
static void pack_weights(Plan *p, const float *w, float *packed)
{
    const int tap = p->side * p->in;
    p->packed = wants_packing(p);
    p->in_place = p->packed && tap <= TAP_MOST && p->len >= MT + p->taps;
    p->kb = p->in_place ? tap : KB;
    p->w = p->packed ? packed : w;
    if (!p->packed)
        return;

    const int line = line_of(p);
    const int64_t wide = round_up(p->out, NR);
#pragma omp parallel for schedule(static) if (line * p->out > PARALLEL_FROM)
    for (int64_t k = 0; k < line; k += p->kb)
        CPU(pack_rows)
    (NR, (int)min64(p->kb, line - k), p->out, w + k * p->out, p->out, 1.0f, packed + k * wide);
}

/* Columns from j (a multiple of NR) of kb rows of the weights from k on. */
static TileB weights_at(const Plan *p, int64_t k, int kb, int64_t j)
{
    if (!p->packed)
        return b_rows(p->w + k * p->out + j, p->out);
    return b_packed(p->w + k * round_up(p->out, NR) + j * kb, kb);
}

/* Rows [row, row + n), columns [j, j + cols) of y. */
static void product(const Plan *p, const float *lines, int64_t ld, int64_t row, int n, int64_t j,
                    int cols)
{
    const int line = line_of(p);
    float *y = p->y + row * p->out + j;
    for (int i = 0; i < n && p->bias != NULL; i++)
        memcpy(y + (int64_t)i * p->out, p->bias + j, (size_t)cols * sizeof(float));
    TileMode mode = p->add || p->bias != NULL ? TILE_ADD : TILE_SET;
    for (int64_t k = 0; k < line; k += p->kb, mode = TILE_ADD) {
        const int kb = (int)min64(p->kb, line - k);
        CPU(tile_mm)
        (n, cols, kb, a_rows(lines + k, ld), weights_at(p, k, kb, j), y, p->out, mode);
    }
    tally(p->flops, tile_flops(n, cols, line));
}

/* ---- in place ---- */

/* Positions [lo, hi) have all their taps within the sequence. */
static int64_t inner_lo(const Plan *p)
{
    return max64(0, -p->first);
}
static int64_t inner_hi(const Plan *p)
{
    return p->len - max64(0, p->first + p->taps - 1);
}

/* n of them from t on, module s: no number that lies outside of the modules is multiplied. */
static void positions(const Plan *p, int64_t b, int64_t t, int n, int64_t s)
{
    const int64_t s0 = s - (p->side - 1) / 2, lo = max64(0, -s0), row = p->modules * p->out;
    const int k = (int)(min64(p->side, p->modules - s0) - lo) * p->in;
    float *y = p->y + (b * p->len + t) * row + s * p->out;
    for (int i = 0; i < n && p->bias != NULL; i++)
        memcpy(y + i * row, p->bias, (size_t)p->out * sizeof(float));
    TileMode mode = p->add || p->bias != NULL ? TILE_ADD : TILE_SET;
    for (int tap = 0; tap < p->taps; tap++, mode = TILE_ADD) {
        const float *x = position(p, b, t + p->first + tap) + (s0 + lo) * p->in;
        TileB w = weights_at(p, (int64_t)tap * p->kb, p->kb, 0);
        w.p += lo * p->in * NR;
        CPU(tile_mm)(n, p->out, k, a_rows(x, (int64_t)p->modules * p->in), w, y, row, mode);
    }
    tally(p->flops, p->taps * tile_flops(n, p->out, k));
}

static void convolve_in_place(const Plan *p, float *scratch)
{
    const int64_t lo = inner_lo(p), hi = inner_hi(p), ld = tile_pad(line_of(p));
    const int64_t tiles = ceil_div(hi - lo, MT), outer = (p->len - (hi - lo)) * p->modules;
#pragma omp parallel
    {
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < p->batch * tiles * p->modules; task++) {
            const int64_t b = task / p->modules / tiles, t = lo + task / p->modules % tiles * MT;
            positions(p, b, t, (int)min64(MT, hi - t), task % p->modules);
        }
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < p->batch * ceil_div(outer, MT); task++) {
            const int64_t b = task / ceil_div(outer, MT), at = task % ceil_div(outer, MT) * MT;
            const int64_t row = (b * p->len + (lo > 0 ? 0 : hi)) * p->modules + at;
            float *lines = scratch + omp_get_thread_num() * MT * ld;
            const int n = (int)min64(MT, outer - at);
            fill_lines(p, row, n, lines, ld);
            product(p, lines, ld, row, n, 0, p->out);
        }
    }
}

/* ---- lines ---- */

/* Few rows (decoding) are cut by columns too, so that there is work for several threads. */
static void convolve_lines(const Plan *p, float *scratch)
{
    const int64_t rows = rows_of(p), ld = tile_pad(line_of(p));
    const int64_t nt = rows > 4 * MT ? round_up(p->out, NR) : NR;
    const int64_t across = ceil_div(p->out, nt), tall = min64(MT, round_up(ceil_div(rows, 2), MR));
#pragma omp parallel for schedule(dynamic) if (rows * p->out * line_of(p) > PARALLEL_FROM)
    for (int64_t task = 0; task < ceil_div(rows, tall) * across; task++) {
        const int64_t row = task / across * tall, j = task % across * nt;
        const int n = (int)min64(tall, rows - row);
        float *lines = scratch + omp_get_thread_num() * MT * ld;
        fill_lines(p, row, n, lines, ld);
        product(p, lines, ld, row, n, j, (int)min64(nt, p->out - j));
    }
}

static void convolve(const Plan *p, float *scratch)
{
    if (p->in_place)
        convolve_in_place(p, scratch);
    else
        convolve_lines(p, scratch);
}

/* ---- forward ---- */
static Plan forward_of(const ModConv *a)
{
    return (Plan){.batch = a->batch,
                  .len = a->len,
                  .modules = a->modules,
                  .in = a->in,
                  .out = a->out,
                  .taps = a->taps,
                  .side = a->side,
                  .first = -(a->taps - 1),
                  .x = a->x,
                  .halo = a->halo,
                  .bias = a->bias,
                  .y = a->y};
}

static int64_t packed_size(const Plan *p)
{
    return round_up(line_of(p) * round_up(p->out, NR), 16);
}
static int64_t lines_size(const Plan *p)
{
    return (int64_t)omp_get_max_threads() * MT * tile_pad(line_of(p));
}

Status CPU(modconv_fwd)(Dev *d, const ModConv *a)
{
    double flops = 0;
    Plan p = forward_of(a);
    void *scratch;
    p.flops = &flops;
    TRY(dev_scratch(d, (size_t)(packed_size(&p) + lines_size(&p)) * sizeof(float), &scratch));
    pack_weights(&p, a->w, scratch);
    convolve(&p, (float *)scratch + packed_size(&p));
    dev_count_flops(d, flops);
    return ST_OK;
}

/* ---- backward ---- */

/* turned[k', j', o, i] = w[k, j, i, o] with taps and modules in reverse. */
static void turn(const ModConv *a, float *turned)
{
    const float *w = a->w;
    const int all = a->taps * a->side;
#pragma omp parallel for schedule(static) if (all * a->in * a->out > PARALLEL_FROM)
    for (int q = 0; q < all; q++)
        for (int64_t o = 0; o < a->out; o++)
            for (int64_t i = 0; i < a->in; i++)
                turned[(q * (int64_t)a->out + o) * a->in + i] =
                    w[((all - 1 - q) * (int64_t)a->in + i) * a->out + o];
}

static Status backward_x(Dev *d, const ModConv *a)
{
    double flops = 0;
    Plan p = forward_of(a);
    void *scratch;
    p.flops = &flops;
    p.in = a->out;
    p.out = a->in;
    p.first = 0;
    p.x = a->dy;
    p.bias = NULL;
    p.y = a->dx;
    p.add = true;
    const int64_t turned = round_up((int64_t)line_of(&p) * a->in, 16);
    TRY(dev_scratch(d, (size_t)(turned + packed_size(&p) + lines_size(&p)) * sizeof(float),
                    &scratch));
    turn(a, scratch);
    pack_weights(&p, scratch, (float *)scratch + turned);
    convolve(&p, (float *)scratch + turned + packed_size(&p));
    dev_count_flops(d, flops);
    return ST_OK;
}

/* part (K, out) = sum over rows [row, end) of line' dy. */
static void dw_slab(const Plan *p, const float *dy, int64_t row, int64_t end, float *lines,
                    float *dy_packed, float *part)
{
    const int line = line_of(p);
    const int64_t ld = tile_pad(line);
    TileMode mode = TILE_SET;
    for (; row < end; row += MT, mode = TILE_ADD) {
        const int n = (int)min64(MT, end - row);
        fill_lines(p, row, n, lines, ld);
        CPU(pack_rows)(NR, n, p->out, dy + row * p->out, p->out, 1.0f, dy_packed);
        CPU(tile_mm)
        (line, p->out, n, a_cols(lines, ld), b_packed(dy_packed, n), part, p->out, mode);
    }
}

static Status backward_w(Dev *d, const ModConv *a)
{
    const Plan p = forward_of(a);
    const int64_t rows = rows_of(&p), size = (int64_t)line_of(&p) * p.out;
    const int64_t height = max64(DW_ROWS, round_up(ceil_div(rows, DW_SLABS), MT));
    const int64_t slabs = ceil_div(rows, height), lines = MT * tile_pad(line_of(&p));
    const int64_t own = lines + MT * round_up(p.out, NR);
    void *scratch;
    TRY(dev_scratch(d, (size_t)(slabs * size + omp_get_max_threads() * own) * sizeof(float) + 64,
                    &scratch));
    float *part = (float *)scratch + omp_get_max_threads() * own;
#pragma omp parallel for schedule(dynamic) if (rows * size > PARALLEL_FROM)
    for (int64_t i = 0; i < slabs; i++) {
        float *mine = (float *)scratch + omp_get_thread_num() * own;
        dw_slab(&p, a->dy, i * height, min64(rows, (i + 1) * height), mine, mine + lines,
                part + i * size);
    }
    slabs_fold(part, (int)slabs, size, size, a->dw);
    return ST_OK;
}

Status CPU(modconv_bwd)(Dev *d, const ModConv *a)
{
    CHECK(a->halo == NULL);
    if (a->dx != NULL)
        TRY(backward_x(d, a));
    if (a->dw != NULL)
        TRY(backward_w(d, a));
    if (a->dbias == NULL)
        return ST_OK;
    return CPU(colsum)(d, a->batch * a->len * a->modules, a->out, a->dy, a->dbias);
}
