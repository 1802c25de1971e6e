/* lsh.c - attention by locality-sensitive hashing, as Terraformer uses Reformer's.
 *
 * Kitaev et al. 2020, "Reformer", arXiv:2001.04451, section 2, in the form of Jaszczur et al. 2021,
 * "Sparse is Enough in Scaling Transformers", arXiv:2111.12763; template/lsh.c has the formulas.
 * time O(T C D n_hashes), state O(T D).
 *
 * It leaks by design: a later position moves the boundaries of sorted chunks. Given the buckets it
 * does not. Decode has a definition of its own: it sees the newest positions that share a bucket
 * with the new one, then the newest others; n_hashes * chunk_len * (1 + before) of them.
 *
 * Differs: rotary positions of the scores (buckets are of the unrotated vector), as in `vanilla`;
 * one rotation R for all sequences of a batch, a function of seed, step, layer, round and head;
 * exact masks instead of additive ones; T is padded to whole chunks by positions in a bucket of
 * their own. */
#include "variants/template/lsh.h"

enum { W_Q, W_K, W_V, W_O, N_PARAMS };

static const Option options[] = {
    LSH_OPTIONS(1, "0: two projections, of which the shared vector is the mean"),
    {0},
};

static bool shared(const MixCtx *c)
{
    return c->opt[LSH_SHARE_QK] != 0;
}

static void params(Slot s[], const MixCtx *c)
{
    s[W_Q] = slot_matrix(shared(c) ? "w_qk" : "w_q", c->width, c->width);
    s[W_K] = slot_matrix("w_k", c->width, c->width);
    s[W_K].absent = shared(c);
    s[W_V] = slot_matrix("w_v", c->width, c->width);
    s[W_O] = slot_matrix("w_o", c->width, c->width);
}

static void project(Tape *t, const MixIn *in, Tensor *x, Parts *out)
{
    Tensor *q = op_linear(t, x, in->w[W_Q], NULL); /* (B,T,H*d) */
    if (!shared(in->ctx))
        q = op_blend(t, 0.5, q, 0.5, op_linear(t, x, in->w[W_K], NULL));
    lsh_parts(t, in->ctx, q, op_linear(t, x, in->w[W_V], NULL), out);
}

static Tensor *finish(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x)
{
    (void)parts, (void)x;
    return op_linear(t, mixed, in->w[W_O], NULL);
}

/* Three or four projections beside hashing and mixing. */
static double flops(const MixCtx *c)
{
    double rows = (double)c->batch * (double)c->q_len, d = c->width;
    return (shared(c) ? 6 : 8) * rows * d * d + lsh_flops(c);
}

const Mixer mixer_lsh = {
    .name = "lsh",
    .caps = CAP_CAUSAL | CAP_BIDIRECTIONAL | CAP_STATEFUL | CAP_CHOICES | CAP_OWN_DECODE,
    .n_params = N_PARAMS,
    .n_state = LSH_STATE,
    .n_parts = LSH_PARTS,
    .v_part = LSH_V,
    .options = options,
    .accepts = lsh_accepts,
    .params = params,
    .params_help = "w_qk: queries and keys in one; w_q: queries; w_k: keys, averaged with them; "
                   "w_v: values; w_o: output",
    .state = lsh_state,
    .project = project,
    .choose = lsh_choose,
    .choice_parts = 1u << LSH_BUCKET,
    .mix = lsh_mix,
    .finish = finish,
    .groups = lsh_groups,
    .matrix = lsh_matrix,
    .decode_matrix = lsh_decode_matrix,
    .flops = flops,
    .n_draws = 1,
    .draws = lsh_draws,
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
