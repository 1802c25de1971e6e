/* lsh.c - attention by locality-sensitive hashing: buckets, chunks of sorted items, decode. */
#include "kernels/ops.h"

#include <string.h>

/* ---- hashing ---- */
static LshHash hash_of(const Call *c)
{
    LshHashOpt o;
    memcpy(&o, c->arg, sizeof o);
    return (LshHash){.batch = c->in[0]->dim[0],
                     .len = c->in[0]->dim[1],
                     .pos = o.pos,
                     .heads = o.heads,
                     .d = tensor_width(c->in[0]) / o.heads,
                     .rounds = o.rounds,
                     .n1 = o.n1,
                     .n2 = o.n2,
                     .lens = call_ptr(c->in[2]),
                     .x = call_ptr(c->in[0]),
                     .rot = call_ptr(c->in[1]),
                     .bucket = call_ptr(c->out[0])};
}

static Status hash_forward(const Call *c)
{
    LshHash a = hash_of(c);
    TRY(call_needs(c, c->k->lsh_hash != NULL, "lsh_hash"));
    return c->k->lsh_hash(c->dev, &a);
}

static Cost hash_cost(const Call *c)
{
    LshHash a = hash_of(c);
    double items = (double)(a.batch * a.len) * a.heads * a.rounds;
    return (Cost){items * a.d * (a.n1 + a.n2), call_bytes(c)};
}

static const Op hash = {"lsh_hash", hash_forward, NULL, hash_cost};

Tensor *op_lsh_hash(Tape *t, Tensor *x, Tensor *rot, Tensor *lens, LshHashOpt o)
{
    bool grad = tape_has_grad(t);
    CHECK(tensor_width(x) % o.heads == 0 && o.n1 % 2 == 0 && o.n2 % 2 == 0);
    CHECK(o.n1 == 0 || tensor_size(rot) == (int64_t)o.rounds * tensor_width(x) * (o.n1 + o.n2) / 2);
    Call c = call_new(t, &o, sizeof o);
    call_in(&c, x);
    call_in(&c, o.n1 > 0 ? rot : NULL);
    call_in(&c, lens);
    call_out(&c, t, I32, 4, (int64_t[]){x->dim[0], o.heads, o.rounds, x->dim[1]});
    tape_grad(t, false);
    Tensor *bucket = tape_run(t, &hash, &c);
    tape_grad(t, grad);
    return bucket;
}

/* ---- attention within chunks ---- */
enum { Q, V, BUCKET, LENS };

int64_t lsh_padded(int64_t len, int64_t rounds, int64_t chunk)
{
    int64_t a = rounds, step = chunk; /* step becomes chunk / gcd(rounds, chunk) */
    CHECK(chunk > 0);
    for (int64_t b = chunk; b != 0;) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    step /= a;
    return ceil_div(len, step) * step;
}

/* Items of chunk c that are not padding: a round is len of these, then padding. */
static double real_items(int64_t len, int64_t padded, int64_t chunk, int64_t c)
{
    int64_t begin = c * chunk, end = begin + chunk, real = 0;
    for (int64_t round = begin / padded; round * padded < end; round++)
        real += max64(0, min64(end, round * padded + len) - max64(begin, round * padded));
    return (double)real;
}

double lsh_pairs(int64_t len, int64_t rounds, int64_t chunk, int before, int after)
{
    int64_t padded = lsh_padded(len, rounds, chunk), chunks = rounds * padded / chunk;
    double pairs = 0;
    for (int64_t c = 0; c < chunks; c++)
        for (int64_t near = -before; near <= after; near++) {
            int64_t other = ((c + near) % chunks + chunks) % chunks;
            pairs += real_items(len, padded, chunk, c) * real_items(len, padded, chunk, other);
        }
    return pairs;
}

static Lsh lsh_of(const Call *c)
{
    LshOpt o;
    memcpy(&o, c->arg, sizeof o);
    int64_t len = c->in[Q]->dim[1], rounds = c->in[BUCKET]->dim[2];
    return (Lsh){.causal = o.causal,
                 .batch = c->in[Q]->dim[0],
                 .len = len,
                 .padded = lsh_padded(len, rounds, o.chunk),
                 .chunk = o.chunk,
                 .heads = o.heads,
                 .d = tensor_width(c->in[Q]) / o.heads,
                 .dv = tensor_width(c->in[V]) / o.heads,
                 .rounds = (int)rounds,
                 .n_buckets = o.n_buckets,
                 .before = o.before,
                 .after = o.after,
                 .lens = call_ptr(c->in[LENS]),
                 .bucket = call_ptr(c->in[BUCKET]),
                 .q = call_ptr(c->in[Q]),
                 .v = call_ptr(c->in[V]),
                 .o = call_ptr(c->out[0]),
                 .lse = c->n_out > 1 ? call_ptr(c->out[1]) : NULL};
}

static Status lsh_forward(const Call *c)
{
    Lsh a = lsh_of(c);
    TRY(call_needs(c, c->k->lsh_fwd != NULL, "lsh_fwd"));
    return c->k->lsh_fwd(c->dev, &a);
}

static Status lsh_backward(const Call *c)
{
    Lsh a = lsh_of(c);
    a.d_o = c->out[0]->grad.ptr;
    a.dq = call_grad(c, Q);
    a.dv_ = call_grad(c, V);
    TRY(call_needs(c, c->k->lsh_bwd != NULL, "lsh_bwd"));
    return c->k->lsh_bwd(c->dev, &a);
}

static Cost lsh_cost(const Call *c)
{
    Lsh a = lsh_of(c);
    double pairs = lsh_pairs(a.len, a.rounds, a.chunk, a.before, a.after);
    return (Cost){2.0 * pairs * (double)a.batch * a.heads * (a.d + a.dv), call_bytes(c)};
}

static const Op lsh = {"lsh", lsh_forward, lsh_backward, lsh_cost};

Tensor *op_lsh(Tape *t, Tensor *q, Tensor *v, Tensor *bucket, Tensor *lens, LshOpt o)
{
    int64_t b = q->dim[0], n = q->dim[1];
    CHECK(v->dim[0] == b && v->dim[1] == n && tensor_width(q) % o.heads == 0);
    CHECK(tensor_width(v) % o.heads == 0 && (lens == NULL || tensor_size(lens) == b));
    CHECK(bucket->rank == 4 && bucket->dim[0] == b && bucket->dim[1] == o.heads);
    CHECK(bucket->dim[3] == n && o.chunk > 0 && o.before >= 0 && o.after >= 0);
    Call c = call_new(t, &o, sizeof o);
    call_in(&c, q);
    call_in(&c, v);
    call_in(&c, bucket);
    call_in(&c, lens);
    call_out(&c, t, REAL, 3, (int64_t[]){b, n, tensor_width(v)});
    if (tape_has_grad(t))
        call_out_aside(&c, t, 3, (int64_t[]){b, o.heads, n});
    return tape_run(t, &lsh, &c);
}

/* ---- decode ---- */
typedef struct DecodeArg {
    int64_t pos, window;
    int heads;
} DecodeArg;

enum { D_Q, D_KEYS, D_V, D_FRESH, D_BUCKET, D_LENS };

static LshDecode decode_of(const Call *c)
{
    DecodeArg o;
    memcpy(&o, c->arg, sizeof o);
    return (LshDecode){.batch = c->in[D_Q]->dim[0],
                       .q_len = c->in[D_Q]->dim[1],
                       .pos = o.pos,
                       .cap = c->in[D_KEYS]->dim[1],
                       .window = o.window,
                       .heads = o.heads,
                       .d = tensor_width(c->in[D_Q]) / o.heads,
                       .dv = tensor_width(c->in[D_V]) / o.heads,
                       .rounds = (int)c->in[D_FRESH]->dim[2],
                       .lens = call_ptr(c->in[D_LENS]),
                       .fresh = call_ptr(c->in[D_FRESH]),
                       .q = call_ptr(c->in[D_Q]),
                       .keys = call_ptr(c->in[D_KEYS]),
                       .v = call_ptr(c->in[D_V]),
                       .bucket = call_ptr(c->in[D_BUCKET]),
                       .o = call_ptr(c->out[0])};
}

static Status decode_forward(const Call *c)
{
    LshDecode a = decode_of(c);
    TRY(call_needs(c, c->k->lsh_decode != NULL, "lsh_decode"));
    return c->k->lsh_decode(c->dev, &a);
}

/* All buckets so far are compared; min(window, positions so far) keys and values are read. */
static Cost decode_cost(const Call *c)
{
    LshDecode a = decode_of(c);
    double rows = (double)a.batch * a.heads, real = (double)dev_real(c->dev), seen = 0, past = 0;
    for (int64_t i = 0; i < a.q_len; i++) {
        seen += (double)min64(a.window, a.pos + i + 1);
        past += (double)(a.pos + i + 1);
    }
    double own = (double)(c->in[D_Q]->buf.size + c->out[0]->buf.size);
    return (Cost){2 * rows * seen * (a.d + a.dv),
                  own + real * rows * (seen * (a.d + a.dv) + past * a.rounds)};
}

static const Op decode = {"lsh_decode", decode_forward, NULL, decode_cost};

Tensor *op_lsh_decode(Tape *t, Tensor *q, Tensor *keys, Tensor *v, Tensor *fresh, Tensor *bucket,
                      Tensor *lens, int heads, int64_t pos, int64_t window)
{
    CHECK(!tape_has_grad(t) && tensor_width(q) == tensor_width(keys) && window > 0);
    CHECK(keys->dim[1] == v->dim[1] && bucket->dtype == REAL && fresh->dtype == I32);
    CHECK(tensor_size(bucket) == tensor_rows(fresh) * keys->dim[1]);
    CHECK(pos >= 0 && pos + q->dim[1] <= keys->dim[1]);
    Call c = call_new(t, &(DecodeArg){pos, window, heads}, sizeof(DecodeArg));
    call_in(&c, q);
    call_in(&c, keys);
    call_in(&c, v);
    call_in(&c, fresh);
    call_in(&c, bucket);
    call_in(&c, lens);
    call_out(&c, t, REAL, 3, (int64_t[]){q->dim[0], q->dim[1], tensor_width(v)});
    return tape_run(t, &decode, &c);
}
