/* lsh.c - attention by locality-sensitive hashing, as Terraformer uses Reformer's.
 *
 * Kitaev et al. 2020, "Reformer", arXiv:2001.04451, section 2, in the form of Jaszczur et al. 2021,
 * "Sparse is Enough in Scaling Transformers", arXiv:2111.12763: queries and keys are one vector,
 *     k_j = q_j / sqrt(d (mean(q_j^2) + 1e-6)),   s_ij = q_i.k_j - [i = j] 1e5
 * In every round a position gets the bucket argmax [x R ; -x R], R normal, and is sorted by
 * (bucket, position); chunks of the sorted positions attend to themselves and their neighbours,
 * with wrap-around. Rounds are averaged with the softmax of their log-sum-exp: one softmax over all
 * that a position sees in any round. Unlike in Reformer, other buckets of the chunk and repeated
 * keys count. time O(T C D n_hashes), state O(T D).
 *
 * It leaks by design: a later position moves the boundaries of sorted chunks. Given the buckets it
 * does not. Decode has a definition of its own: it sees the newest positions that share a bucket
 * with the new one, then the newest others; n_hashes * chunk_len * (1 + before) of them.
 *
 * Differs: rotary positions of the scores (buckets are of the unrotated vector), as in `vanilla`;
 * one rotation R for all sequences of a batch, a function of seed, step, layer, round and head;
 * exact masks instead of additive ones; T is padded to whole chunks by positions in a bucket of
 * their own. */
#include "variants/template/mixer.h"

#include <math.h>

enum { W_Q, W_K, W_V, W_O, N_PARAMS };
enum { KEYS, VALUES, BUCKETS, ROTATION, N_STATE };
enum { Q, V, HASHED, BUCKET, N_PARTS };
enum { ROUNDS, N_BUCKETS, CHUNK, BEFORE, AFTER, SHARE_QK, STD_LENGTH, ROPE, ROPE_HALF };

static const Option options[] = {
    {"n_hashes", 2, 1, 8, true, "rounds of hashing"},
    {"n_buckets", 0, 0, 1 << 20, true, "buckets of a round, even; 0: two for each chunk"},
    {"chunk_len", 128, 1, 1 << 20, true, "positions of a sorted chunk"},
    {"before", 1, 0, 4, true, "chunks before its own that a position sees"},
    {"after", -1, -1, 4, true, "chunks after its own; -1: none if causal, else 1"},
    {"share_qk", 1, 0, 1, true, "0: two projections, of which the shared vector is the mean"},
    {"std_length", 0, 0, 1 << 30, true, "contexts up to this see all positions (MixedLSH)"},
    {"rope", 1, 0, 1, true, "1: rotary positions; 0: none"},
    {"rope_half", 1, 0, 1, true, "1: rotary pairs (i, i + d/2); 0: neighbours (2i, 2i + 1)"},
    {0},
};

/* The numbers of one call. Up to std_length there is one chunk, one round and one bucket. */
typedef struct Plan {
    int rounds, before, after;
    int n1, n2, buckets; /* bucket = b1 + n1 b2; n2 = 0: b1 alone */
    int64_t chunk, window;
} Plan;

static Plan plan_of(const MixCtx *c)
{
    const double *o = c->opt;
    if ((double)c->cap <= o[STD_LENGTH])
        return (Plan){.rounds = 1, .buckets = 1, .chunk = c->cap, .window = c->cap};
    Plan p = {.rounds = (int)o[ROUNDS], .before = (int)o[BEFORE], .after = (int)o[AFTER]};
    p.chunk = (int64_t)o[CHUNK];
    p.after = p.after >= 0 ? p.after : !c->causal;
    p.window = p.rounds * p.chunk * (1 + p.before);
    int64_t n = o[N_BUCKETS] > 0 ? (int64_t)o[N_BUCKETS] : 2 * max64(1, c->cap / p.chunk);
    p.n1 = (int)n;
    if (n > 128) {
        for (p.n1 = 2; (int64_t)p.n1 * p.n1 < n;)
            p.n1 *= 2;
        p.n2 = (int)(2 * (n / (2 * p.n1)));
    }
    p.buckets = p.n1 * (p.n2 > 0 ? p.n2 : 1);
    return p;
}

static bool shared(const MixCtx *c)
{
    return c->opt[SHARE_QK] != 0;
}

static Status accepts(const MixCtx *c)
{
    Plan p = plan_of(c);
    int d = c->width / c->heads, n = (int)c->opt[N_BUCKETS];
    if (n % 2 != 0)
        return FAIL(ST_SHAPE, "n_buckets %d (an even number, or 0 for two a chunk)", n);
    if (d % 2 != 0 && c->opt[ROPE] != 0)
        return FAIL(ST_SHAPE, "rotary positions need an even head width, not %d / %d = %d",
                    c->width, c->heads, d);
    if (p.rounds * lsh_padded(c->cap, p.rounds, p.chunk) >= 1 << 30)
        return FAIL(ST_SHAPE, "%d rounds of %lld positions: LSH sorts fewer than 2^30 items",
                    p.rounds, (long long)c->cap);
    return ST_OK;
}

static void params(Slot s[], const MixCtx *c)
{
    s[W_Q] = slot_matrix(shared(c) ? "w_qk" : "w_q", c->width, c->width);
    s[W_K] = slot_matrix("w_k", c->width, c->width);
    s[W_K].absent = shared(c);
    s[W_V] = slot_matrix("w_v", c->width, c->width);
    s[W_O] = slot_matrix("w_o", c->width, c->width);
}

/* Rotations (heads * rounds, d, columns). */
static Slot rotation_slot(const MixCtx *c)
{
    Plan p = plan_of(c);
    return slot_state("rotation", (int64_t)c->heads * p.rounds, c->width / c->heads,
                      max64(1, (p.n1 + p.n2) / 2));
}

static void state(Slot s[], const MixCtx *c)
{
    s[KEYS] = slot_state("keys", c->batch, c->cap, c->width);
    s[VALUES] = slot_state("values", c->batch, c->cap, c->width);
    s[BUCKETS] = slot_state("buckets", c->batch, (int64_t)c->heads * plan_of(c).rounds, c->cap);
    s[ROTATION] = rotation_slot(c);
}

static void draws(Slot s[], const MixCtx *c)
{
    s[0] = rotation_slot(c);
}

static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    const MixCtx *c = in->ctx;
    RopeOpt rope = {c->pos, c->heads, 0, 10000, c->opt[ROPE_HALF] != 0};
    Tensor *q = op_linear(t, x, in->w[W_Q], NULL); /* (B,T,H*d) */
    if (!shared(c))
        q = op_blend(t, 0.5, q, 0.5, op_linear(t, x, in->w[W_K], NULL));
    out->p[HASHED] = q;
    out->p[Q] = c->opt[ROPE] != 0 ? op_rope(t, q, rope) : q;
    out->p[V] = op_linear(t, x, in->w[W_V], NULL);
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
        return in->st[ROTATION];
    Tensor *rot = op_normal(t, s.rank, s.dim, at.seed, at.stream, at.offset);
    if (in->st != NULL)
        op_append(t, in->st[ROTATION], rot, 0);
    return rot;
}

static void choose(Tape *t, const MixIn *in, Parts *parts)
{
    Plan p = plan_of(in->ctx);
    LshHashOpt o = {in->ctx->heads, p.rounds, p.n1, p.n2, in->ctx->pos};
    Tensor *rot = p.n1 > 0 ? rotations(t, in) : NULL;
    parts->p[BUCKET] = op_lsh_hash(t, parts->p[HASHED], rot, in->ctx->lens, o);
}

static Tensor *mix(Tape *t, const MixIn *in, const Parts *parts)
{
    const MixCtx *c = in->ctx;
    Plan p = plan_of(c);
    LshOpt o = {c->causal, c->heads, p.buckets, p.before, p.after, p.chunk};
    Tensor *q = parts->p[Q], *v = parts->p[V];
    if (in->st == NULL)
        return op_lsh(t, q, v, parts->p[BUCKET], c->lens, o);
    op_append(t, in->st[KEYS], q, c->pos);
    op_append(t, in->st[VALUES], v, c->pos);
    return op_lsh_decode(t, q, in->st[KEYS], in->st[VALUES], parts->p[BUCKET], in->st[BUCKETS],
                         c->lens, c->heads, c->pos, p.window);
}

static Tensor *finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x)
{
    (void)parts, (void)x;
    return op_linear(t, mixed, in->w[W_O], NULL);
}

static int groups(const MixCtx *c)
{
    return c->heads;
}

/* Chunk of a valid position: how many come before it in its round, by (bucket, position). */
static int64_t chunk_of(const double *bucket, int64_t round, int64_t i, int64_t valid,
                        int64_t padded, int64_t chunk)
{
    int64_t before = 0;
    for (int64_t j = 0; j < valid; j++)
        before += bucket[j] < bucket[i] || (bucket[j] == bucket[i] && j < i);
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

/* P_ij = n_ij exp(s_ij) / sum, where i meets j n_ij times. Bucket numbers are given (H,rounds,T).
 */
static void matrix(double *P, const HostParts *h, int g, const MixCtx *c)
{
    Plan p = plan_of(c);
    int d = c->width / c->heads;
    const double *bucket = h->part[BUCKET] + g * p.rounds * h->len;
    for (int64_t i = 0; i < h->len; i++) {
        double *row = P + i * h->len, top = -HUGE_VAL, sum = 0;
        for (int64_t j = 0; j < h->len; j++) {
            const double *q = h->part[Q] + i * c->width + g * d,
                         *k = h->part[Q] + j * c->width + g * d;
            double qk = 0, kk = 0;
            for (int a = 0; a < d; a++) {
                qk += q[a] * k[a];
                kk += k[a] * k[a];
            }
            bool visible = i < h->valid && j < h->valid && (!c->causal || j <= i) &&
                           meetings(&p, bucket, h, i, j) > 0;
            row[j] = qk / sqrt(kk / d + 1e-6) / sqrt((double)d) - (i == j ? 1e5 : 0);
            row[j] = visible ? row[j] : -HUGE_VAL;
            top = fmax(top, row[j]);
        }
        for (int64_t j = 0; j < h->len; j++) {
            row[j] = row[j] > -HUGE_VAL ? meetings(&p, bucket, h, i, j) * exp(row[j] - top) : 0;
            sum += row[j];
        }
        for (int64_t j = 0; j < h->len; j++)
            row[j] = sum > 0 ? row[j] / sum : 0;
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

/* Three or four projections; n_hashes rotations; 4 D for every pair of items that meet. */
static double flops(const MixCtx *c)
{
    Plan p = plan_of(c);
    double rows = (double)c->batch * (double)c->q_len, d = c->width;
    double pairs = c->carried ? decode_pairs(c, &p)
                              : lsh_pairs(c->q_len, p.rounds, p.chunk, p.before, p.after);
    return (shared(c) ? 6 : 8) * rows * d * d + rows * p.rounds * d * (p.n1 + p.n2) +
           4 * d * pairs * (double)c->batch;
}

const Mixer mixer_lsh = {
    .name = "lsh",
    .caps = CAP_CAUSAL | CAP_BIDIRECTIONAL | CAP_STATEFUL | CAP_CHOICES | CAP_OWN_DECODE,
    .n_params = N_PARAMS,
    .n_state = N_STATE,
    .n_parts = N_PARTS,
    .v_part = V,
    .options = options,
    .accepts = accepts,
    .params = params,
    .params_help = "w_qk: queries and keys in one; w_q: queries; w_k: keys, averaged with them; "
                   "w_v: values; w_o: output",
    .state = state,
    .project = project,
    .choose = choose,
    .choice_parts = 1u << BUCKET,
    .mix = mix,
    .finish = finish,
    .groups = groups,
    .matrix = matrix,
    .flops = flops,
    .n_draws = 1,
    .draws = draws,
};

const Variant variant_lsh = {
    .name = "lsh",
    .title = "LSH attention: hashed, sorted, in chunks",
    .paper = "Kitaev 2020, arXiv:2001.04451; Jaszczur 2021, arXiv:2111.12763",
    .time = "T C D n_hashes",
    .state = "2 T D",
    .formula =
        "q = norm(x) W_qk  k_j = q_j / sqrt(d (mean(q_j^2) + 1e-6))  v = norm(x) W_v\n"
        "each round: bucket = argmax [q R ; -q R]; sort by (bucket, position), cut in chunks\n"
        "P_ij = n_ij exp(q_i.k_j - [i = j] 1e5) / sum, where i meets j in n_ij rounds\n"
        "y = x + concat_h( P_h V_h ) W_o, then a feed-forward layer as in vanilla",
    .mixer = &mixer_lsh,
    .channel = &channel_gelu,
    .norm = NORM_LAYER,
    .norm_eps = 1e-5,
    .norm_bias = true,
    .blocks_per_layer = 1,
};
