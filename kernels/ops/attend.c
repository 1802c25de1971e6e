/* attend.c - pairwise attention, mixed chunk attention, and the caches they continue from. */
#include "kernels/ops.h"

#include <string.h>

double attend_pairs(int64_t batch, int64_t q_len, int64_t k_len, int64_t q_pos, bool causal)
{
    if (!causal)
        return (double)batch * (double)q_len * (double)k_len;
    /* query i sees min(k_len, q_pos + i + 1) keys */
    double full = (double)min64(q_len, max64(0, q_pos + q_len - k_len)),
           part = (double)q_len - full;
    double first = (double)q_pos + 1;
    return (double)batch * (full * (double)k_len + part * (2 * first + part - 1) / 2);
}

static AttendOpt attend_opt(const Call *c)
{
    AttendOpt o;
    memcpy(&o, c->arg, sizeof o);
    return o;
}

enum { Q, K, V, LENS, BIAS };

static Attn attn_of(const Call *c)
{
    AttendOpt o = attend_opt(c);
    int64_t q_row = tensor_width(c->in[Q]), v_row = tensor_width(c->in[V]);
    return (Attn){.kind = o.kind,
                  .naive = o.naive,
                  .causal = o.causal,
                  .post_rows = o.post_rows,
                  .batch = c->in[Q]->dim[0],
                  .q_len = c->in[Q]->dim[1],
                  .k_len = o.k_len,
                  .q_pos = o.q_pos,
                  .heads = o.heads,
                  .d = (int)(q_row / o.heads),
                  .dv = (int)(v_row / o.heads),
                  .scale = o.scale,
                  .post = o.post,
                  .log_base = o.log_base,
                  .log_floor = o.log_floor,
                  .bias_scale = o.bias_scale,
                  .bias_zero = o.bias_zero,
                  .bias = call_ptr(c->in[BIAS]),
                  .lens = call_ptr(c->in[LENS]),
                  .q = call_ptr(c->in[Q]),
                  .k = call_ptr(c->in[K]),
                  .v = call_ptr(c->in[V]),
                  .q_row = q_row,
                  .k_row = q_row,
                  .v_row = v_row,
                  .o_row = v_row,
                  .k_batch = c->in[K]->dim[1] * q_row,
                  .v_batch = c->in[V]->dim[1] * v_row,
                  .o = call_ptr(c->out[0]),
                  .lse =
                      o.kind == ATTN_SOFTMAX && c->n_out > 1 + o.naive ? call_ptr(c->out[1]) : NULL,
                  .matrix = o.naive ? call_ptr(c->out[c->n_out - 1]) : NULL};
}

static Status attend_forward(const Call *c)
{
    Attn a = attn_of(c);
    TRY(call_needs(c, c->k->attn_fwd != NULL, "attn_fwd"));
    return c->k->attn_fwd(c->dev, &a);
}

static Status attend_backward(const Call *c)
{
    Attn a = attn_of(c);
    a.d_o = c->out[0]->grad.ptr;
    a.dq = call_grad(c, Q);
    a.dk = call_grad(c, K);
    a.dv_ = call_grad(c, V);
    a.d_bias = call_grad(c, BIAS);
    a.set_dq = call_fresh(c, Q);
    a.set_dk = call_fresh(c, K);
    a.set_dv = call_fresh(c, V);
    TRY(call_needs(c, c->k->attn_bwd != NULL, "attn_bwd"));
    Buf d_matrix = {0};
    if (a.naive)
        TRY(dev_alloc(c->dev, c->out[c->n_out - 1]->buf.size, MEM_ACT, &d_matrix));
    a.d_matrix = d_matrix.ptr;
    Status st = c->k->attn_bwd(c->dev, &a);
    dev_free(c->dev, &d_matrix);
    return st;
}

static Cost attend_cost(const Call *c)
{
    Attn a = attn_of(c);
    double pairs = attend_pairs(a.batch, a.q_len, a.k_len, a.q_pos, a.causal);
    double real = (double)dev_real(c->dev), rows = (double)a.batch;
    double bytes = rows * ((double)a.q_len * (double)(a.q_row + a.o_row) +
                           (double)a.k_len * (double)(a.k_row + a.v_row));
    return (Cost){2.0 * pairs * a.heads * (a.d + a.dv), real * bytes};
}

/* There is an entry for every distance, and scores have one scale where they have biases. */
static bool bias_fits(const AttendOpt *o, int64_t q_len)
{
    if (o->bias == NULL)
        return true;
    return o->log_base == 0 && o->bias_zero >= o->q_pos + q_len - 1 &&
           tensor_size(o->bias) >= o->bias_zero + o->k_len;
}

static const Op attend = {"attend", attend_forward, attend_backward, attend_cost};

Tensor *op_attend(Tape *t, Tensor *q, Tensor *k, Tensor *v, Tensor *lens, AttendOpt o)
{
    int64_t b = q->dim[0], n = q->dim[1];
    if (o.k_len == 0)
        o.k_len = k->dim[1];
    CHECK(k->dim[0] == b && v->dim[0] == b && k->dim[1] == v->dim[1] && o.k_len <= k->dim[1]);
    CHECK(tensor_width(q) == tensor_width(k) && tensor_width(q) % o.heads == 0);
    CHECK(tensor_width(v) % o.heads == 0 && (lens == NULL || tensor_size(lens) == b));
    CHECK(bias_fits(&o, n) && (o.log_base == 0 || (o.log_base > 1 && o.log_floor >= 1)));
    Call c = call_new(t, &o, sizeof o);
    call_in(&c, q);
    call_in(&c, k);
    call_in(&c, v);
    call_in(&c, lens);
    call_in(&c, o.bias);
    c.overwrites = c.k->overwrites && !o.naive ? 1 << Q | 1 << K | 1 << V : 0;
    call_out(&c, t, REAL, 3, (int64_t[]){b, n, tensor_width(v)});
    if (o.kind == ATTN_SOFTMAX && tape_has_grad(t))
        call_out_aside(&c, t, 3, (int64_t[]){b, o.heads, n});
    if (o.naive)
        call_out_aside(&c, t, 4, (int64_t[]){b, o.heads, n, o.k_len});
    return tape_run(t, &attend, &c);
}

/* ---- FLASH ---- */
enum { QQ, KQ, QL, KL, CV, CLENS, CBIAS };

static Chunks chunks_of(const Call *c)
{
    ChunksOpt o;
    memcpy(&o, c->arg, sizeof o);
    return (Chunks){.batch = c->in[CV]->dim[0],
                    .len = c->in[CV]->dim[1],
                    .pos = o.pos,
                    .chunk = o.chunk,
                    .s = tensor_width(c->in[QQ]),
                    .e = tensor_width(c->in[CV]),
                    .causal = o.causal,
                    .lin_mean = o.lin_mean,
                    .local_scale = o.local_scale,
                    .local_post = o.local_post,
                    .lin_scale = o.lin_scale,
                    .bias_scale = o.bias_scale,
                    .bias = call_ptr(c->in[CBIAS]),
                    .lens = call_ptr(c->in[CLENS]),
                    .qq = call_ptr(c->in[QQ]),
                    .kq = call_ptr(c->in[KQ]),
                    .ql = call_ptr(c->in[QL]),
                    .kl = call_ptr(c->in[KL]),
                    .v = call_ptr(c->in[CV]),
                    .o = call_ptr(c->out[0])};
}

/* The state is updated in place, so it is kept beside the operands, not among the inputs. */
typedef struct ChunksArg {
    ChunksOpt o;
    void *state[4];
} ChunksArg;

static Status chunks_forward(const Call *c)
{
    Chunks a = chunks_of(c);
    ChunksArg arg;
    memcpy(&arg, c->arg, sizeof arg);
    a.sum = arg.state[0];
    a.part = arg.state[1];
    a.keys = arg.state[2];
    a.vals = arg.state[3];
    TRY(call_needs(c, c->k->chunks_fwd != NULL, "chunks_fwd"));
    return c->k->chunks_fwd(c->dev, &a);
}

static Status chunks_backward(const Call *c)
{
    Chunks a = chunks_of(c);
    a.d_o = c->out[0]->grad.ptr;
    a.dqq = call_grad(c, QQ);
    a.dkq = call_grad(c, KQ);
    a.dql = call_grad(c, QL);
    a.dkl = call_grad(c, KL);
    a.dv = call_grad(c, CV);
    a.d_bias = call_grad(c, CBIAS);
    TRY(call_needs(c, c->k->chunks_bwd != NULL, "chunks_bwd"));
    return c->k->chunks_bwd(c->dev, &a);
}

/* Pairs within chunks that see each other, for positions [pos, pos + len). */
static double local_pairs(const Chunks *a)
{
    int64_t c = a->chunk, first = a->pos / c, last = (a->pos + a->len - 1) / c;
    double pairs = 0;
    for (int64_t g = first; g <= last; g += last > first + 2 && g == first + 1 ? last - g : 1) {
        int64_t from = max64(a->pos, g * c), to = min64(a->pos + a->len, (g + 1) * c);
        double times = last > first + 2 && g == first + 1 ? (double)(last - g) : 1;
        int64_t keys = a->causal ? to - g * c : to - from;
        pairs += times * attend_pairs(a->batch, to - from, keys, from - g * c, a->causal);
    }
    return pairs;
}

/* Local scores and values, plus kl'v into the sums and ql M out of them (2 S E each a position).
 * The first chunk of a causal pass has nothing before it; the last, without state, nothing after.
 */
static Cost chunks_cost(const Call *c)
{
    Chunks a = chunks_of(c);
    ChunksArg arg;
    memcpy(&arg, c->arg, sizeof arg);
    int64_t adds = a.len, reads = adds;
    if (a.causal)
        reads = max64(0, a.pos + a.len - max64(a.pos, a.chunk));
    if (a.causal && arg.state[0] == NULL)
        adds = (a.len - 1) / a.chunk * a.chunk;
    double linear = 2.0 * a.s * a.e * (double)a.batch * ((double)adds + (double)reads);
    return (Cost){2.0 * local_pairs(&a) * (a.s + a.e) + linear, call_bytes(c)};
}

static const Op chunks = {"chunks", chunks_forward, chunks_backward, chunks_cost};

Tensor *op_chunks(Tape *t, Tensor *const qk[4], Tensor *v, Tensor *lens, Tensor *const state[4],
                  ChunksOpt o)
{
    ChunksArg arg = {.o = o};
    CHECK(o.chunk > 0 && (state == NULL || (o.causal && !tape_has_grad(t))));
    CHECK(lens == NULL || tensor_size(lens) == v->dim[0]);
    CHECK(o.bias == NULL || tensor_size(o.bias) == 2 * (int64_t)o.chunk - 1);
    for (int i = 0; state != NULL && i < 4; i++)
        arg.state[i] = state[i]->buf.ptr;
    Call c = call_new(t, &arg, sizeof arg);
    for (int i = 0; i < 4; i++) {
        CHECK(qk[i]->dim[0] == v->dim[0] && qk[i]->dim[1] == v->dim[1]);
        CHECK(tensor_width(qk[i]) == tensor_width(qk[0]));
        call_in(&c, qk[i]);
    }
    call_in(&c, v);
    call_in(&c, lens);
    call_in(&c, o.bias);
    call_out_like(&c, t, v);
    return tape_run(t, &chunks, &c);
}

/* ---- caches ---- */
static Status append_forward(const Call *c)
{
    int64_t at, width = tensor_width(c->in[0]), cap = c->in[0]->dim[1], n = c->in[1]->dim[1];
    memcpy(&at, c->arg, sizeof at);
    char *dst = (char *)c->in[0]->buf.ptr + (size_t)(at * width) * dev_real(c->dev);
    TRY(call_needs(c, c->k->copy != NULL, "copy"));
    return c->k->copy(c->dev, &(Copy){.batch = c->in[0]->dim[0],
                                      .rows = n,
                                      .width = width,
                                      .src = call_ptr(c->in[1]),
                                      .dst = dst,
                                      .src_row = width,
                                      .dst_row = width,
                                      .src_batch = n * width,
                                      .dst_batch = cap * width});
}

static Cost append_cost(const Call *c)
{
    return (Cost){0, 2.0 * (double)c->in[1]->buf.size};
}

static const Op append = {"append", append_forward, NULL, append_cost};

void op_append(Tape *t, Tensor *cache, Tensor *rows, int64_t at)
{
    CHECK(!tape_has_grad(t) && tensor_width(cache) == tensor_width(rows));
    CHECK(at >= 0 && at + rows->dim[1] <= cache->dim[1] && rows->dim[0] == cache->dim[0]);
    Call c = call_new(t, &at, sizeof at);
    call_in(&c, cache);
    call_in(&c, rows);
    tape_run(t, &append, &c);
}
