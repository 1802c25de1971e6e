/* attention.cu - pairwise attention: what is launched. The pairs themselves: pairs.cuh; the
 * materialised baseline: naive.cu.
 *
 * Where few rows see many keys (decode), the keys are split over the device: each split leaves its
 * sums and maximum in scratch, and a last launch (one thread a number of o) joins them in order of
 * the splits. Bytes of a decode step: K and V once, 4 (d + dv) k_len H B: 0.16 ms for k_len = 2^20,
 * d = dv = 64, H = 1 on an H100 (computed, 3.35 TB/s). delta_i = do_i.o_i: a warp a row, bytes
 * 8 q_len dv H B. */
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/ops.cuh"

enum { MIN_SPLIT = 256, MAX_SPLITS = 256, THREADS = 128 };
static const int64_t ROOM = (int64_t)1
                            << 20; /* floats: rows of biases that need no second launch */

Pairs pairs_of(const Attn *a)
{
    Pairs p = {};
    p.softmax = a->kind == ATTN_SOFTMAX, p.causal = a->causal, p.post_rows = a->post_rows;
    p.heads = a->heads, p.d = a->d, p.dv = a->dv, p.splits = 1;
    p.batch = a->batch, p.q_len = a->q_len, p.k_len = a->k_len, p.q_pos = a->q_pos;
    p.scale = (float)a->scale, p.post = (float)a->post, p.lens = a->lens;
    p.log_base = a->log_base != 0.0 ? (float)log(a->log_base) : 0.0f;
    p.log_floor = a->log_base != 0.0 ? (float)log(a->log_floor) : 0.0f;
    p.bias = (const float *)a->bias, p.d_bias = (float *)a->d_bias;
    p.bias_zero = a->bias_zero, p.bias_scale = (float)a->bias_scale;
    p.n_bias = a->bias_zero + a->k_len;
    p.q = (const float *)a->q, p.k = (const float *)a->k, p.v = (const float *)a->v;
    p.d_o = (const float *)a->d_o, p.o = (const float *)a->o;
    p.q_row = a->q_row, p.k_row = a->k_row, p.v_row = a->v_row, p.o_row = a->o_row;
    p.q_batch = a->q_len * a->q_row, p.o_batch = a->q_len * a->o_row;
    p.k_batch = a->k_batch, p.v_batch = a->v_batch;
    p.out = (float *)a->o, p.lse = (float *)a->lse;
    p.dq = (float *)a->dq, p.dk = (float *)a->dk, p.dv_ = (float *)a->dv_;
    p.set_dq = a->set_dq, p.set_dk = a->set_dk, p.set_dv = a->set_dv;
    return p;
}

/* ---- splits ---- */
/* o = sum_s exp(m_s - m) o_s / sum_s exp(m_s - m) l_s; of relu2 simply the sum. */
__global__ void join_kernel(Pairs p)
{
    const int64_t rows = p.batch * p.heads * p.q_len, n = rows * p.dv;
    for (int64_t i = first_of(); i < n; i += step_of()) {
        const int64_t row = i / p.dv, head = row / p.q_len, c = i % p.dv;
        float m = -INFINITY, l = 0.0f, o = 0.0f;
        for (int s = 0; p.softmax && s < p.splits; s++)
            m = Max()(p.part_m[s * rows + row], m);
        const float base = m == -INFINITY ? 0.0f : m;
        for (int s = 0; s < p.splits; s++) {
            const float by = p.softmax ? expf(p.part_m[s * rows + row] - base) : 1.0f;
            o += by * p.part_o[s * n + i];
            l += by * p.part_l[s * rows + row];
        }
        const float y = !p.softmax ? o : l == 0.0f ? 0.0f : o / l;
        p.out[head / p.heads * p.o_batch + row % p.q_len * p.o_row + head % p.heads * p.dv + c] = y;
        if (p.softmax && p.lse != NULL && c == 0)
            p.lse[row] = m + logf(l);
    }
}

/* As many splits as fill the device twice, of at least MIN_SPLIT keys. */
static int splits_for(Dev *d, const Pairs &p)
{
    const int64_t blocks = ceil_div(p.q_len, 16) * p.batch * p.heads * ceil_div(p.dv, 64);
    const int64_t wanted = ceil_div(2 * (int64_t)cuda_of(d)->sms, blocks);
    return p.q_len > 64 ? 1 : (int)max64(1, least(least(wanted, MAX_SPLITS), p.k_len / MIN_SPLIT));
}

Status pairs_forward(Dev *d, const char *op, Pairs p)
{
    const int64_t rows = p.batch * p.heads * p.q_len;
    void *work;
    p.splits = splits_for(d, p);
    if (p.splits == 1)
        return cuda_pairs_out(d, op, p);
    TRY(cuda_work(d, (size_t)(p.splits * rows * (p.dv + 2)) * sizeof(float), &work));
    p.part_o = (float *)work;
    p.part_m = p.part_o + p.splits * rows * p.dv;
    p.part_l = p.part_m + p.splits * rows;
    TRY(cuda_pairs_out(d, op, p));
    return launch(d, op, join_kernel, grid_for(d, rows * p.dv, THREADS), THREADS, 0, p);
}

Status cuda_attn_fwd(Dev *d, const Attn *a)
{
    return a->naive ? naive_fwd(d, a) : pairs_forward(d, "attn_fwd", pairs_of(a));
}

/* ---- backward ---- */
__global__ void delta_kernel(Pairs p)
{
    const int lane = threadIdx.x % 32;
    const int64_t rows = p.batch * p.heads * p.q_len, warps = step_of() / 32;
    for (int64_t row = first_of() / 32; row < rows; row += warps) {
        const int64_t head = row / p.q_len;
        const int64_t at =
            head / p.heads * p.o_batch + row % p.q_len * p.o_row + head % p.heads * p.dv;
        float sum = 0.0f;
        for (int c = lane; c < p.dv; c += 32)
            sum += p.o[at + c] * p.d_o[at + c];
        for (int with = 16; with > 0; with /= 2)
            sum += __shfl_xor_sync(0xffffffffu, sum, with);
        if (lane == 0)
            p.delta[row] = sum;
    }
}

__global__ void bias_kernel(Pairs p, int64_t rows)
{
    for (int64_t e = first_of(); e < p.n_bias; e += step_of()) {
        float sum = 0.0f;
        for (int64_t r = 0; r < rows; r++)
            sum += p.part_bias[r * p.n_bias + e];
        p.d_bias[e] += sum;
    }
}

/* Row tiles of DQ at a time: what fills the device four times, or all that the room holds. */
static int64_t tiles_at_a_time(Dev *d, const Pairs &p)
{
    const int64_t heads = p.batch * p.heads, fit = ROOM / (heads * p.n_bias);
    return least(pairs_row_tiles(p.q_len),
                 max64(fit, ceil_div(4 * (int64_t)cuda_of(d)->sms, heads)));
}

/* Likewise the gradient of the bias, whose rows (one a block) are added after every launch. */
static Status backward_dq(Dev *d, const char *op, Pairs p)
{
    const int64_t tile = pairs_tile(p.q_len), step = tile * tiles_at_a_time(d, p);
    for (p.row0 = 0; p.row0 < p.q_len; p.row0 += step) {
        p.rows = least(step, p.q_len - p.row0);
        const int64_t blocks = ceil_div(p.rows, tile) * p.batch * p.heads;
        TRY(cuda_fill(d, blocks * p.n_bias, 0.0, p.part_bias));
        TRY(cuda_pairs_dq(d, op, p));
        TRY(launch(d, op, bias_kernel, grid_for(d, p.n_bias, THREADS), THREADS, 0, p, blocks));
    }
    return ST_OK;
}

/* Scratch: delta, then a row of biases for every block of DQ. */
Status pairs_backward(Dev *d, const char *op, Pairs p)
{
    const int64_t heads = p.batch * p.heads, rows = heads * p.q_len;
    const int64_t biases = p.d_bias != NULL ? tiles_at_a_time(d, p) * heads * p.n_bias : 0;
    void *work;
    if (p.softmax || biases > 0) {
        TRY(cuda_work(d, (size_t)(rows + biases) * sizeof(float), &work));
        p.delta = (float *)work;
        p.part_bias = biases > 0 ? p.delta + rows : NULL;
    }
    if (p.softmax)
        TRY(launch(d, op, delta_kernel, grid_for(d, 32 * rows, THREADS), THREADS, 0, p));
    if (biases > 0 && p.dq == NULL)
        return FAIL(ST_UNSUPPORTED, "cuda: the gradient of a bias needs that of the queries");
    if (p.dq != NULL)
        TRY(biases > 0 ? backward_dq(d, op, p) : cuda_pairs_dq(d, op, p));
    if (p.dk != NULL)
        TRY(cuda_pairs_dk(d, op, p));
    return p.dv_ != NULL ? cuda_pairs_dv(d, op, p) : ST_OK;
}

Status cuda_attn_bwd(Dev *d, const Attn *a)
{
    return a->naive ? naive_bwd(d, a) : pairs_backward(d, "attn_bwd", pairs_of(a));
}
