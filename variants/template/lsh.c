/* lsh.c - attention by locality-sensitive hashing; see lsh.h.
 *
 * Queries and keys are one vector: k_j = q_j / sqrt(d (mean(q_j^2) + 1e-6)), and
 * s_ij = q_i.k_j - [i = j] 1e5. In every round a position gets the bucket argmax [x R ; -x R], R
 * normal, and is sorted by (bucket, position); chunks of the sorted positions attend to themselves
 * and their neighbours, with wrap-around. Rounds are averaged with the softmax of their
 * log-sum-exp: one softmax over all that a position sees in any round. Unlike in Reformer, other
 * buckets of the chunk and repeated keys count. */
#include "variants/template/lsh.h"

#include <math.h>

/* The numbers of one call. Up to std_length there is one chunk, one round and one bucket. */
typedef struct Plan {
    int rounds, before, after;
    int n1, n2, buckets; /* bucket = b1 + n1 b2; n2 = 0: b1 alone */
    int64_t chunk, window;
} Plan;

static Plan plan_of(const MixCtx *c)
{
    const double *o = c->opt;
    if ((double)c->cap <= o[LSH_STD_LENGTH])
        return (Plan){.rounds = 1, .buckets = 1, .chunk = c->cap, .window = c->cap};
    Plan p = {
        .rounds = (int)o[LSH_ROUNDS], .before = (int)o[LSH_BEFORE], .after = (int)o[LSH_AFTER]};
    p.chunk = (int64_t)o[LSH_CHUNK];
    p.after = p.after >= 0 ? p.after : !c->causal;
    p.window = p.rounds * p.chunk * (1 + p.before);
    int64_t n = o[LSH_N_BUCKETS] > 0 ? (int64_t)o[LSH_N_BUCKETS] : 2 * max64(1, c->cap / p.chunk);
    p.n1 = (int)n;
    if (n > 128) {
        for (p.n1 = 2; (int64_t)p.n1 * p.n1 < n;)
            p.n1 *= 2;
        p.n2 = (int)(2 * (n / (2 * p.n1)));
    }
    p.buckets = p.n1 * (p.n2 > 0 ? p.n2 : 1);
    return p;
}

Status lsh_accepts(const MixCtx *c)
{
    Plan p = plan_of(c);
    int d = c->width / c->heads, n = (int)c->opt[LSH_N_BUCKETS];
    if (n % 2 != 0)
        return FAIL(ST_SHAPE, "n_buckets %d (an even number, or 0 for two a chunk)", n);
    if (d % 2 != 0 && c->opt[LSH_ROPE] != 0)
        return FAIL(ST_SHAPE, "rotary positions need an even head width, not %d / %d = %d",
                    c->width, c->heads, d);
    if (p.rounds * lsh_padded(c->cap, p.rounds, p.chunk) >= 1 << 30)
        return FAIL(ST_SHAPE, "%d rounds of %lld positions: LSH sorts fewer than 2^30 items",
                    p.rounds, (long long)c->cap);
    return ST_OK;
}

/* Rotations (heads * rounds, d, columns). */
static Slot rotation_slot(const MixCtx *c)
{
    Plan p = plan_of(c);
    return slot_state("rotation", (int64_t)c->heads * p.rounds, c->width / c->heads,
                      max64(1, (p.n1 + p.n2) / 2));
}

void lsh_state(Slot s[], const MixCtx *c)
{
    s[LSH_KEYS] = slot_state("keys", c->batch, c->cap, c->width);
    s[LSH_VALUES] = slot_state("values", c->batch, c->cap, c->width);
    s[LSH_BUCKETS] = slot_state("buckets", c->batch, (int64_t)c->heads * plan_of(c).rounds, c->cap);
    s[LSH_ROTATION] = rotation_slot(c);
}

void lsh_draws(Slot s[], const MixCtx *c)
{
    s[0] = rotation_slot(c);
}

void lsh_parts(Tape *t, const MixCtx *c, Tensor *shared, Tensor *v, Parts *out)
{
    RopeOpt rope = {c->pos, c->heads, 0, 10000, c->opt[LSH_ROPE] == 1};
    out->p[LSH_HASHED] = shared;
    out->p[LSH_Q] = c->opt[LSH_ROPE] != 0 ? op_rope(t, shared, rope) : shared;
    out->p[LSH_V] = v;
}

/* Given, or drawn anew; a decode draws once, at its start, and carries them on. */
static Tensor *rotations(Tape *t, const MixIn *in)
{
    const MixCtx *c = in->ctx;
    Slot s = rotation_slot(c);
    RngAt at = mix_rng(in, 0);
    if (c->draw[0] != NULL)
        return c->draw[0];
    if (in->st != NULL && c->pos > 0)
        return in->st[LSH_ROTATION];
    Tensor *rot = op_normal(t, s.rank, s.dim, at.seed, at.stream, at.offset);
    if (in->st != NULL)
        op_append(t, in->st[LSH_ROTATION], rot, 0);
    return rot;
}

void lsh_choose(Tape *t, const MixIn *in, Parts *parts)
{
    Plan p = plan_of(in->ctx);
    LshHashOpt o = {in->ctx->heads, p.rounds, p.n1, p.n2, in->ctx->pos};
    Tensor *rot = p.n1 > 0 ? rotations(t, in) : NULL;
    parts->p[LSH_BUCKET] = op_lsh_hash(t, parts->p[LSH_HASHED], rot, in->ctx->lens, o);
}

Tensor *lsh_mix(Tape *t, const MixIn *in, const Parts *parts)
{
    const MixCtx *c = in->ctx;
    Plan p = plan_of(c);
    LshOpt o = {c->causal, c->heads, p.buckets, p.before, p.after, p.chunk};
    Tensor *q = parts->p[LSH_Q], *v = parts->p[LSH_V];
    if (in->st == NULL)
        return op_lsh(t, q, v, parts->p[LSH_BUCKET], c->lens, o);
    op_append(t, in->st[LSH_KEYS], q, c->pos);
    op_append(t, in->st[LSH_VALUES], v, c->pos);
    return op_lsh_decode(t, q, in->st[LSH_KEYS], in->st[LSH_VALUES], parts->p[LSH_BUCKET],
                         in->st[LSH_BUCKETS], c->lens, c->heads, c->pos, p.window);
}

int lsh_groups(const MixCtx *c)
{
    return c->heads;
}

/* Chunk of a valid position: how many come before it in its round, by (bucket, position). */
static int64_t chunk_of(const double *bucket, int64_t round, int64_t i, int64_t valid,
                        int64_t padded, int64_t chunk)
{
    int64_t before = 0;
    for (int64_t j = 0; j < valid; j++)
        before += bucket[j] < bucket[i] || (j < i && bucket[j] == bucket[i]);
    return (round * padded + before) / chunk;
}

/* How often i sees j: over the rounds of both, chunks that are neighbours on the ring. */
static int meetings(const Plan *p, const double *bucket, const HostParts *h, int64_t i, int64_t j)
{
    int64_t padded = lsh_padded(h->len, p->rounds, p->chunk), n = p->rounds * padded / p->chunk;
    int times = 0;
    for (int r = 0; r < p->rounds; r++)
        for (int other = 0; other < p->rounds; other++) {
            int64_t ci = chunk_of(bucket + r * h->len, r, i, h->valid, padded, p->chunk);
            int64_t cj = chunk_of(bucket + other * h->len, other, j, h->valid, padded, p->chunk);
            for (int64_t near = -p->before; near <= p->after; near++)
                times += (cj - ci - near) % n == 0;
        }
    return times;
}

/* s_ij of head g. */
static double score(const HostParts *h, const MixCtx *c, int g, int64_t i, int64_t j)
{
    int d = c->width / c->heads;
    const double *q = h->part[LSH_Q] + i * c->width + g * d,
                 *k = h->part[LSH_Q] + j * c->width + g * d;
    double qk = 0, kk = 0;
    for (int a = 0; a < d; a++) {
        qk += q[a] * k[a];
        kk += k[a] * k[a];
    }
    return qk / sqrt(kk / d + 1e-6) / sqrt((double)d) - (i == j ? 1e5 : 0);
}

/* Row i of P, which holds how often i sees each j: n_ij exp(s_ij) / sum. */
static void weigh(double *row, const HostParts *h, const MixCtx *c, int g, int64_t i)
{
    double top = -HUGE_VAL, sum = 0;
    for (int64_t j = 0; j < h->len; j++)
        if (row[j] > 0)
            top = fmax(top, score(h, c, g, i, j));
    for (int64_t j = 0; j < h->len; j++) {
        row[j] *= row[j] > 0 ? exp(score(h, c, g, i, j) - top) : 0;
        sum += row[j];
    }
    for (int64_t j = 0; j < h->len; j++)
        row[j] = sum > 0 ? row[j] / sum : 0;
}

/* Bucket numbers are given (H,rounds,T). */
void lsh_matrix(double *P, const HostParts *h, int g, const MixCtx *c)
{
    Plan p = plan_of(c);
    const double *bucket = h->part[LSH_BUCKET] + g * p.rounds * h->len;
    for (int64_t i = 0; i < h->len; i++) {
        double *row = P + i * h->len;
        for (int64_t j = 0; j < h->len; j++) {
            bool visible = i < h->valid && j < h->valid && (!c->causal || j <= i);
            row[j] = visible ? meetings(&p, bucket, h, i, j) : 0;
        }
        weigh(row, h, c, g, i);
    }
}

static bool share_bucket(const double *bucket, int rounds, int64_t len, int64_t i, int64_t j)
{
    for (int r = 0; r < rounds; r++)
        if (bucket[r * len + i] == bucket[r * len + j])
            return true;
    return false;
}

/* Once each: the newest that share a bucket with i, then the newest others, `window` in all. */
void lsh_decode_matrix(double *P, const HostParts *h, int g, const MixCtx *c)
{
    Plan p = plan_of(c);
    const double *bucket = h->part[LSH_BUCKET] + g * p.rounds * h->len;
    for (int64_t i = 0; i < h->len; i++) {
        double *row = P + i * h->len;
        int64_t left = p.window;
        for (int64_t j = 0; j < h->len; j++)
            row[j] = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = i; j >= 0; j--)
                if (share_bucket(bucket, p.rounds, h->len, i, j) == (pass == 0))
                    row[j] = left-- > 0;
        weigh(row, h, c, g, i);
    }
}

/* Keys that the new positions of a decode see, of one head. */
static double decode_pairs(const MixCtx *c, const Plan *p)
{
    double pairs = 0;
    for (int64_t i = 0; i < c->q_len; i++)
        pairs += (double)min64(p->window, c->pos + i + 1);
    return pairs;
}

/* n_hashes rotations; 4 D for every pair of items that meet. */
double lsh_flops(const MixCtx *c)
{
    Plan p = plan_of(c);
    double rows = (double)c->batch * (double)c->q_len, d = c->width;
    double pairs = c->carried ? decode_pairs(c, &p)
                              : lsh_pairs(c->q_len, p.rounds, p.chunk, p.before, p.after);
    return rows * p.rounds * d * (p.n1 + p.n2) + 4 * d * pairs * (double)c->batch;
}
