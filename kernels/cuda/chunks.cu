/* chunks.cu - mixed chunk attention of FLASH: the local part by pairs.cuh, the linear part by
 * products of tiles (chunk_product.cu) and a running sum over chunks.
 *
 * Per chunk h: KV_h = KL_h' V_h (S,E). Causal: M_g = sum_{h<g} KV_h, bidirectional: over all h, and
 * O_g += c_g QL_g M_g. Backward: dM_g = c_g QL_g' dO_g, dKV_h = sum of dM_g over g > h (all g),
 * dQL_g += c_g dO_g M_g', dKL_h += V_h dKV_h', dV_h += KL_h dKV_h. The sums of as many chunks as
 * fit the room (256 MiB) are made at a time; from one such span to the next only their total is
 * carried. FLOPs: 4 T S E + 2 C T (S + E) / 2 causal; bytes, beyond the operands: 16 T S E / C of
 * sums written, scanned and read. H100 (computed), T = 131072, S = 128, E = 1536, C = 256:
 * 0.13 TFLOP: 0.13 ms in bf16, sums of 0.4 GB moved four times: 0.48 ms: bound by the sums.
 *
 * With state: the open chunk is filled first, then whole chunks go the way above with the state's
 * sum carried in, then the rest opens a chunk. A decode step is one row of an open chunk. */
#include "kernels/cuda/chunks.cuh"

enum { THREADS = 256 };
static const int64_t ROOM = (int64_t)64 << 20; /* floats of sums at a time */

/* Positions pos .. pos + len of a call: rows `at` .. of its arrays. */
struct Piece {
    int64_t at, pos, len;
};

static const float *rows_of(const void *p, int64_t at, int width)
{
    return p != NULL ? (const float *)p + at * width : NULL;
}

/* ---- local part ---- */
static Pairs local_pairs(const Chunks *a, const Piece &x)
{
    Pairs p = {};
    p.causal = a->causal, p.heads = 1, p.splits = 1;
    p.d = a->s, p.dv = a->e, p.batch = a->batch;
    p.q_len = p.k_len = x.len, p.chunk = a->chunk, p.lens = a->lens, p.lens_from = x.pos;
    p.scale = (float)a->local_scale, p.post = (float)a->local_post;
    p.bias = (const float *)a->bias, p.bias_zero = a->chunk - 1,
    p.bias_scale = (float)a->bias_scale;
    p.q = rows_of(a->qq, x.at, a->s), p.k = rows_of(a->kq, x.at, a->s);
    p.v = rows_of(a->v, x.at, a->e), p.d_o = rows_of(a->d_o, x.at, a->e);
    p.out = (float *)rows_of(a->o, x.at, a->e);
    p.q_row = p.k_row = a->s, p.v_row = p.o_row = a->e;
    p.q_batch = p.k_batch = a->len * a->s, p.v_batch = p.o_batch = a->len * a->e;
    p.dq = (float *)a->dqq, p.dk = (float *)a->dkq, p.dv_ = (float *)a->dv;
    p.d_bias = (float *)a->d_bias, p.n_bias = 2 * (int64_t)a->chunk - 1;
    return p;
}

/* ---- linear part ---- */
/* (B,len,width) from row x.at on, cut into chunks. */
static ChunkMatrix positions(const Chunks *a, const Piece &x, const void *p, int width)
{
    return {(float *)rows_of(p, x.at, width), width, a->len * width, (int64_t)a->chunk * width};
}

/* (B,G,S,E), or without G the same for every chunk. */
static ChunkMatrix sums(const Chunks *a, float *p, int64_t groups)
{
    const int64_t se = (int64_t)a->s * a->e;
    return {p, a->e, groups > 0 ? groups * se : se, groups > 0 ? se : 0};
}

static ChunkProduct product_of(const Chunks *a, const Piece &x)
{
    ChunkProduct p = {};
    p.batch = a->batch, p.groups = ceil_div(x.len, a->chunk), p.chunk = a->chunk;
    p.len = x.len, p.pos = x.pos, p.lens = a->lens;
    p.causal = a->causal, p.lin_mean = a->lin_mean, p.lin_scale = (float)a->lin_scale;
    p.total = a->pos + a->len;
    return p;
}

/* Running sums over the chunks of a span: each becomes what came before it (after it), the carry
 * what has come so far. Bidirectional: only the carry grows. */
struct Scan {
    float *sums, *carry;
    int64_t batch, groups, se;
    bool causal, backward;
};

__global__ void scan_kernel(Scan a)
{
    for (int64_t i = first_of(); i < a.batch * a.se; i += step_of()) {
        const int64_t b = i / a.se;
        float run = a.carry[i];
        for (int64_t n = 0; n < a.groups; n++) {
            const int64_t g = a.backward ? a.groups - 1 - n : n;
            float *at = a.sums + (b * a.groups + g) * a.se + i % a.se;
            const float own = *at;
            if (a.causal)
                *at = run;
            run += own;
        }
        a.carry[i] = run;
    }
}

static Status scan(Dev *d, const char *op, const Chunks *a, float *own, float *carry,
                   int64_t groups, bool backward)
{
    const int64_t se = (int64_t)a->s * a->e;
    const Scan s = {own, carry, a->batch, groups, se, a->causal, backward};
    return launch(d, op, scan_kernel, grid_for(d, a->batch * se, THREADS), THREADS, 0, s);
}

/* Chunks whose sums fit the room at a time. */
static int64_t span_of(const Chunks *a, int64_t groups)
{
    return max64(1, least(groups, ROOM / ((int64_t)a->s * a->e * a->batch)));
}

static Piece span_at(const Chunks *a, const Piece &all, int64_t first, int64_t n)
{
    const int64_t skip = first * a->chunk;
    return {all.at + skip, all.pos + skip, least(n * a->chunk, all.len - skip)};
}

/* KV_h (or dM_g) of a span. */
static Status make_sums(Dev *d, const char *op, const Chunks *a, const Piece &x, const void *left,
                        const void *right, float *out, bool gradient)
{
    ChunkProduct p = product_of(a, x);
    p.m = a->s, p.n = a->e, p.k = 0, p.ta = true;
    p.a = positions(a, x, left, a->s), p.b = positions(a, x, right, a->e);
    p.c = sums(a, out, p.groups);
    p.scaled = gradient, p.valid_only = !gradient;
    return chunk_product(d, op, p);
}

/* c (rows,n) += c_g rows(left) (k) sums; turned: sums are (n,k). */
static Status use_sums(Dev *d, const char *op, const Chunks *a, const Piece &x, const void *left,
                       int k, const ChunkMatrix &matrix, bool turned, void *to, int n, bool scaled)
{
    ChunkProduct p = product_of(a, x);
    p.m = 0, p.n = n, p.k = k, p.tb = turned, p.add = true;
    p.a = positions(a, x, left, k), p.b = matrix, p.c = positions(a, x, to, n);
    p.scaled = scaled, p.valid_only = !scaled;
    return to != NULL ? chunk_product(d, op, p) : ST_OK;
}

/* Over all spans: sums made, scanned from carry, and used, `use` told where. Bidirectional: used at
 * the end. */
typedef Status UseFn(Dev *d, const Chunks *a, const Piece &x, const ChunkMatrix &m);
struct Pass {
    const char *op;
    const void *left, *right;
    bool backward; /* gradients, from the last chunk to the first */
    UseFn *use;
};

static Status run_pass(Dev *d, const Chunks *a, const Piece &all, const Pass &s, float *carry,
                       float *room)
{
    const int64_t groups = ceil_div(all.len, a->chunk), span = span_of(a, groups);
    const int64_t spans = ceil_div(groups, span);
    for (int64_t n = 0; n < spans; n++) {
        const int64_t first = (s.backward ? spans - 1 - n : n) * span;
        const Piece x = span_at(a, all, first, span);
        const int64_t here = ceil_div(x.len, a->chunk);
        TRY(make_sums(d, s.op, a, x, s.left, s.right, room, s.backward));
        TRY(scan(d, s.op, a, room, carry, here, s.backward));
        if (a->causal)
            TRY(s.use(d, a, x, sums(a, room, here)));
    }
    return a->causal ? ST_OK : s.use(d, a, all, sums(a, carry, 0));
}

static Status use_forward(Dev *d, const Chunks *a, const Piece &x, const ChunkMatrix &m)
{
    return use_sums(d, "chunks_fwd", a, x, a->ql, a->s, m, false, a->o, a->e, true);
}

static Status use_dql(Dev *d, const Chunks *a, const Piece &x, const ChunkMatrix &m)
{
    return use_sums(d, "chunks_bwd", a, x, a->d_o, a->e, m, true, a->dql, a->s, true);
}

static Status use_dkl_dv(Dev *d, const Chunks *a, const Piece &x, const ChunkMatrix &m)
{
    TRY(use_sums(d, "chunks_bwd", a, x, a->v, a->e, m, true, a->dkl, a->s, false));
    return use_sums(d, "chunks_bwd", a, x, a->kl, a->s, m, false, a->dv, a->e, false);
}

/* Room for a carry (if none is given) and the sums of a span. */
static Status take_room(Dev *d, const Chunks *a, int64_t len, float **carry, float **room)
{
    const int64_t se = a->batch * a->s * (int64_t)a->e;
    const int64_t groups = span_of(a, ceil_div(len, a->chunk));
    void *work;
    TRY(cuda_work(d, (size_t)((groups + 1) * se) * sizeof(float), &work));
    *room = (float *)work + se;
    if (*carry == NULL) {
        *carry = (float *)work;
        return cuda_fill(d, se, 0.0, work);
    }
    return ST_OK;
}

/* A piece that begins with a chunk; the state's sum or NULL. */
static Status forward_piece(Dev *d, const Chunks *a, const Piece &x, float *carry)
{
    const Pass s = {"chunks_fwd", a->kl, a->v, false, use_forward};
    float *room;
    TRY(cuda_pairs_out(d, "chunks_fwd", local_pairs(a, x)));
    TRY(take_room(d, a, x.len, &carry, &room));
    return run_pass(d, a, x, s, carry, room);
}

/* ---- with state: rows of the open chunk ---- */
static Status keep_rows(Dev *d, const Chunks *a, const Piece &x, const void *src, void *cache,
                        int width)
{
    Copy c = {};
    const int64_t row = x.pos % a->chunk;
    c.batch = a->batch, c.rows = x.len, c.width = width;
    c.src = rows_of(src, x.at, width), c.dst = (float *)cache + row * width;
    c.src_row = c.dst_row = width;
    c.src_batch = a->len * width, c.dst_batch = (int64_t)a->chunk * width;
    return cuda_copy(d, &c);
}

static Status open_piece(Dev *d, const Chunks *a, const Piece &x)
{
    const int64_t row = x.pos % a->chunk, se = (int64_t)a->s * a->e;
    Pairs p = local_pairs(a, x);
    ChunkProduct part = product_of(a, x);
    TRY(keep_rows(d, a, x, a->kq, a->keys, a->s));
    TRY(keep_rows(d, a, x, a->v, a->vals, a->e));
    p.chunk = 0, p.q_pos = row, p.k_len = row + x.len, p.lens_from = x.pos - row;
    p.k = (const float *)a->keys, p.k_batch = (int64_t)a->chunk * a->s;
    p.v = (const float *)a->vals, p.v_batch = (int64_t)a->chunk * a->e;
    TRY(pairs_forward(d, "chunks_fwd", p));
    TRY(use_sums(d, "chunks_fwd", a, x, a->ql, a->s, sums(a, (float *)a->sum, 0), false, a->o, a->e,
                 true));
    part.m = a->s, part.n = a->e, part.ta = true, part.add = true, part.valid_only = true;
    part.a = positions(a, x, a->kl, a->s), part.b = positions(a, x, a->v, a->e);
    part.c = sums(a, (float *)a->part, 0);
    TRY(chunk_product(d, "chunks_fwd", part));
    if (row + x.len < a->chunk)
        return ST_OK;
    TRY(cuda_add(d, a->batch * se, a->sum, a->part, a->sum));
    return cuda_fill(d, a->batch * se, 0.0, a->part);
}

Status cuda_chunks_fwd(Dev *d, const Chunks *a)
{
    Piece x = {0, a->pos, a->len};
    if (a->sum == NULL)
        return forward_piece(d, a, x, NULL);
    while (x.len > 0) {
        const int64_t row = x.pos % a->chunk, whole = x.len / a->chunk * a->chunk;
        const bool bulk = row == 0 && whole > 0;
        const Piece now = {x.at, x.pos, bulk ? whole : least(x.len, a->chunk - row)};
        TRY(bulk ? forward_piece(d, a, now, (float *)a->sum) : open_piece(d, a, now));
        x = {x.at + now.len, x.pos + now.len, x.len - now.len};
    }
    return ST_OK;
}

Status cuda_chunks_bwd(Dev *d, const Chunks *a)
{
    const Piece all = {0, 0, a->len};
    const Pass ahead = {"chunks_bwd", a->kl, a->v, false, use_dql};
    const Pass back = {"chunks_bwd", a->ql, a->d_o, true, use_dkl_dv};
    float *carry = NULL, *room;
    TRY(pairs_backward(d, "chunks_bwd", local_pairs(a, all)));
    if (a->dql != NULL) {
        TRY(take_room(d, a, a->len, &carry, &room));
        TRY(run_pass(d, a, all, ahead, carry, room));
    }
    carry = NULL;
    TRY(take_room(d, a, a->len, &carry, &room));
    return run_pass(d, a, all, back, carry, room);
}
