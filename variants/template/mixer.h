/* mixer.h - what a variant is made of: token mixer, channel mixer, loss layer. Adding one is one
 * file, variants/NAME.c, that ends in `const Variant variant_NAME = {...};`.
 *
 * A token mixer maps x (B,T,D) to (B,T,D) in three stages:
 *     out = finish(x, P(parts) . V(parts)),   parts = project(x)
 * P is the T x T mixing matrix of a group. A mixer owns no memory: parameters and carried state are
 * declared here and allocated by the harness. All stages write straight-line code on the tape. */
#ifndef LONGMIX_MIXER_H
#define LONGMIX_MIXER_H

#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    MIX_MAX_PARAMS = 24,
    MIX_MAX_STATE = 8,
    MIX_MAX_PARTS = 8,
    MIX_MAX_OPTIONS = 16,
    MIX_MAX_DRAWS = 4
};

enum MixCaps {
    CAP_CAUSAL = 1 << 0,             /* can hide the future */
    CAP_BIDIRECTIONAL = 1 << 1,      /* can see both sides */
    CAP_STATEFUL = 1 << 2,           /* can continue from carried state; implies CAUSAL */
    CAP_LINEAR_STATE = 1 << 3,       /* the state does not grow with T */
    CAP_FIXED_LEN = 1 << 4,          /* parameter shapes depend on T */
    CAP_CHOICES = 1 << 5,            /* makes discrete decisions (stage choose) */
    CAP_OWN_DECODE = 1 << 6,         /* decode differs from the full pass by definition */
    CAP_HEADS_EXCHANGEABLE = 1 << 7, /* permuting the heads' weights permutes nothing else */
    CAP_NAIVE = 1 << 8,              /* has a naive implementation beside the tiled one */
    CAP_DRAWS = 1 << 9               /* draws in training: a training pass differs from others */
};
enum { N_CAPS = 10 };
extern const char *const cap_names[N_CAPS]; /* "causal", "bidirectional", ... in bit order */

typedef enum Init {
    INIT_NORMAL,
    INIT_ZERO,
    INIT_ONE,
    INIT_TAPS /* (taps,W): the first row is 1/2, all others 1/(2 taps) (So 2021) */
} Init;

/* A tensor to allocate: a parameter, or a piece of carried state (always zero at the start). */
typedef struct Slot {
    const char *name;
    Init init;
    double sd;  /* of INIT_NORMAL */
    bool decay; /* weight decay applies: matrices yes; gains, biases no */
    int rank;
    int64_t dim[MAX_RANK];
    bool bias;   /* of a dense layer: left out with biases=0 */
    bool absent; /* left out: not allocated, its weight is NULL */
} Slot;
Slot slot_matrix(const char *name, int64_t in, int64_t out); /* normal, sd 1/sqrt(in), decays */
Slot slot_vector(const char *name, Init init, double sd, int64_t n);
Slot slot_bias(const char *name, int64_t n);           /* of a dense layer: zeros */
Slot slot_taps(const char *name, int taps, int64_t n); /* of a convolution by columns */
Slot slot_state(const char *name, int64_t b, int64_t rows, int64_t width); /* (B,rows,width) */

/* A number that the command line can set (--set key=value). */
typedef struct Option {
    const char *name;
    double value; /* default: the paper's */
    double lo, hi;
    bool whole;
    const char *help;
} Option;

/* Options that every variant has, beside those of its parts: what stands around the branches of a
 * block. Their defaults come from the Variant. */
enum {
    RECIPE_NORM,
    RECIPE_NORM_EPS,
    RECIPE_NORM_BIAS,
    RECIPE_NORM_GAIN,
    RECIPE_MIXER_NORM,
    RECIPE_CHANNEL_NORM,
    RECIPE_BIASES,
    RECIPE_RESIDUAL,
    RECIPE_FFN,
    RECIPE_REVERSIBLE,
    N_RECIPE
};
extern const Option recipe_options[N_RECIPE + 1]; /* ends with a zero entry */

/* One call of a model: a plain value, the same for all layers. */
typedef struct MixCtx {
    int64_t batch;
    int64_t q_len;  /* new positions */
    int64_t pos;    /* position of the first of them */
    int64_t cap;    /* longest context of this case: sizes the caches; FIXED_LEN parameters */
    int64_t n_norm; /* fixed length normaliser of the GAU family: the training length */
    int width, heads;
    int ffn; /* channel width F (or E of the GAU family); 0: the variant's default */
    bool causal, training, naive;
    bool carried;  /* state goes in and comes out: work for later segments counts */
    Tensor *lens;  /* (B) I32 valid lengths (right padding), or NULL: all valid */
    int vocab;     /* of the loss layer; 0: there is none (model_init sets it) */
    uint64_t seed; /* of what a call draws at random; see mix_rng */
    int64_t step;  /* of the training: draws change with it */
    /* Random draws from outside, in the order of the declarations; NULL: drawn from the seed. */
    Tensor *draw[MIX_MAX_DRAWS], *ffn_draw[MIX_MAX_DRAWS];
    /* Values of the options of mixer, channel mixer and loss layer, in their order. */
    double opt[MIX_MAX_OPTIONS], ffn_opt[MIX_MAX_OPTIONS], loss_opt[MIX_MAX_OPTIONS];
    double recipe[N_RECIPE]; /* and of recipe_options */
} MixCtx;

/* What project hands to mix and finish. Choices are I32 tensors made by `choose`. */
typedef struct Parts {
    Tensor *p[MIX_MAX_PARTS];
} Parts;

/* Weights and state of one layer, in the order of the slots. st is NULL without carried state. */
typedef struct MixIn {
    Tensor *const *w;
    Tensor *const *st;
    const MixCtx *ctx;
    int layer; /* which block of the model: layers draw different numbers */
} MixIn;

/* Where the numbers of one random draw begin (see rng.h): a pure function of seed, training step,
 * layer and which of its draws this is, so that a block that runs again draws the same. Number i of
 * the draw is number offset + i of the stream, i < 2^36; a draw of a channel mixer has which >= 8.
 * What evaluation draws (hash rotations, say) it draws at step 0. */
typedef struct RngAt {
    uint64_t seed, offset;
    uint32_t stream;
} RngAt;
RngAt mix_rng(const MixIn *in, int which);

/* The parts and weights of one sequence as the host sees them, for `matrix`: part[i] is
 * (T, width of the part), w[i] a whole parameter. */
typedef struct HostParts {
    const double *part[MIX_MAX_PARTS];
    const double *w[MIX_MAX_PARAMS];
    int64_t len;   /* T */
    int64_t valid; /* valid keys */
} HostParts;

/* With these options this mixer equals that one in the same recipe; names are mapped "mine=theirs
 * mine2=theirs2", parameters that are not mapped keep their name if the other has it. `eye` names
 * parameters of mine that have to have ones on the diagonal, or (taps) in the first row, and zeros
 * elsewhere. */
typedef struct Equal {
    const char *set;
    bool causal;
    int64_t len, n_norm;
    const struct Mixer *other;
    const char *other_set;
    const char *map, *eye;
} Equal;

typedef struct Mixer {
    const char *name;
    unsigned caps;
    int n_params, n_state, n_parts;
    int v_part;            /* which part is V */
    unsigned finish_parts; /* bits of the parts that finish reads; the others die after mix */
    const Option *options; /* ends with a zero entry; NULL: none */
    const Equal *equals;   /* ends with a zero entry; NULL: none */

    /* Optional: says why a case cannot run, before anything is allocated. */
    Status (*accepts)(const MixCtx *c);
    void (*params)(Slot s[], const MixCtx *c);
    const char *params_help; /* what each parameter is: "w_q: queries; w_k: keys" */
    void (*state)(Slot s[], const MixCtx *c); /* NULL iff not STATEFUL */

    void (*project)(Tape *t, const MixIn *in, Tensor *x, Parts *out);
    /* CAP_CHOICES: fills the I32 parts from the others. The runner saves and replays them. */
    void (*choose)(Tape *t, const MixIn *in, Parts *parts);
    unsigned choice_parts; /* bits of the parts that choose fills */
    Tensor *(*mix)(Tape *t, const MixIn *in, const Parts *parts);
    Tensor *(*finish)(Tape *t, const MixIn *in, const Parts *parts, Tensor *mixed, Tensor *x);

    /* The definition: P (T x T, row-major) of one group in float64, from the paper's formula;
     * group g mixes columns [g, g+1) * width(V) / groups of V. Shares no code with mix. */
    int (*groups)(const MixCtx *c);
    void (*matrix)(double *P, const HostParts *h, int group, const MixCtx *c);
    /* CAP_OWN_DECODE: the same of decode. Row i is what the step at position i takes; the parts are
     * those of the whole pass, of which it may look at positions up to i. */
    void (*decode_matrix)(double *P, const HostParts *h, int group, const MixCtx *c);

    /* Useful forward floating-point operations of this call, by the paper's formula. */
    double (*flops)(const MixCtx *c);

    /* Optional: what it draws at random, by name and shape, so that it can be given instead. */
    int n_draws;
    void (*draws)(Slot s[], const MixCtx *c);
} Mixer;

/* A channel mixer (feed-forward): x (B,T,D) -> (B,T,D), most often position by position. Its
 * options stand in ctx->ffn_opt; parameters, state, draws and choices are its own. */
typedef struct ChannelMixer {
    const char *name;
    unsigned caps;  /* of CAP_CHOICES, CAP_OWN_DECODE, CAP_DRAWS: what it adds to the mixer's */
    unsigned lacks; /* of CAP_BIDIRECTIONAL, CAP_STATEFUL, CAP_LINEAR_STATE: what it takes away */
    int n_params, n_state, n_parts, n_draws;
    const Option *options; /* names differ from the mixer's and the loss layer's */
    /* Option values with which its gradients are those of the function it computes; otherwise it
     * estimates them straight through, or stops them. NULL: they always are. */
    const char *smooth_set;

    Status (*accepts)(const MixCtx *c);
    int (*default_ffn)(int width);
    int (*ffn_multiple)(const MixCtx *c);      /* of what F has to be a multiple; NULL: 1 */
    void (*params)(Slot s[], const MixCtx *c); /* c->ffn is set */
    const char *params_help;
    void (*state)(Slot s[], const MixCtx *c); /* NULL iff n_state is 0 */
    void (*draws)(Slot s[], const MixCtx *c);

    /* Choices, as in a mixer: prepare computes the parts that they are made from, choose fills the
     * I32 parts, or leaves NULL what this call does not choose. Both NULL: no parts. */
    void (*prepare)(Tape *t, const MixIn *in, Tensor *x, Parts *parts);
    void (*choose)(Tape *t, const MixIn *in, Parts *parts);
    unsigned choice_parts;
    Tensor *(*forward)(Tape *t, const MixIn *in, const Parts *parts, Tensor *x);
    double (*flops)(const MixCtx *c);
} ChannelMixer;

/* What makes logits (B,T,V) of the last layer's x (B,T,D); V is ctx->vocab. Its options stand in
 * ctx->loss_opt. Parameters are named "head" or "head.NAME". */
typedef struct LossLayer {
    const char *name;
    int n_params;
    const Option *options;
    Status (*accepts)(const MixCtx *c); /* optional */
    void (*params)(Slot s[], const MixCtx *c);
    Tensor *(*logits)(Tape *t, Tensor *const w[], const MixCtx *c, Tensor *x);
    double (*flops)(const MixCtx *c);
} LossLayer;

/* Where the norm of a sublayer with branch f stands. */
typedef enum Placement {
    NORM_PRE,   /* x + f(norm(x)) */
    NORM_POST,  /* norm(x + f(x)) */
    NORM_BRANCH /* x + norm(f(x)) */
} Placement;

/* How blocks are joined. */
typedef enum Topology {
    RESIDUAL, /* x goes through the blocks; each sublayer adds its branch */
    /* Two streams that start as copies of x: a sublayer maps (a, c) to (c, a + f(c)), so that a can
     * be computed back from the output and nothing need be kept for the backward pass; choices are
     * replayed from what the forward pass saved. The model ends in (a + c) / 2 (Kitaev 2020). */
    REVERSIBLE
} Topology;

/* A recipe: the named thing that the command line, the rows and the plots speak of. */
typedef struct Variant {
    const char *name;         /* as on the command line; the file is variants/NAME.c */
    const char *title;        /* a line for people */
    const char *paper;        /* authors, year, identifier */
    const char *time, *state; /* complexity of mixing T tokens, and of the decode state: "T^2 D" */
    const char *formula;      /* of a block, for people: lines of text */
    const Mixer *mixer;
    const char *mixer_set;       /* option values (of any part) that differ from defaults; NULL */
    const ChannelMixer *channel; /* NULL: none */
    NormKind norm;
    double norm_eps;
    bool norm_bias, no_norm_gain;
    Placement mixer_norm, channel_norm;
    bool no_biases;                /* dense layers of the GAU family and of gelu without biases */
    int blocks_per_layer;          /* blocks in one Transformer-layer equivalent: 2 for GAU */
    int (*default_ffn)(int width); /* without a channel mixer: E; NULL: the channel mixer's */
    const LossLayer *loss;         /* NULL: loss_dense */
    Topology topology;
} Variant;

unsigned variant_caps(const Variant *v); /* of mixer and channel mixer together */
const LossLayer *variant_loss(const Variant *v);

/* Every variant, by file name; NULL ends it (generated by variants/table.sh). */
extern const Variant *const variant_table[];
const Variant *variant_find(const char *name); /* NULL if there is none */

/* Attention over the positions so far: with state, k and v first go to the caches st[0] and st[1],
 * (B,cap,width) each, and the queries see all of them. Fills q_pos and k_len of o. */
Tensor *attend_cached(Tape *t, const MixIn *in, Tensor *q, Tensor *k, Tensor *v, AttendOpt o);

/* The mixers and channel mixers that several variants share. */
extern const Mixer mixer_attention, mixer_dconv;
extern const ChannelMixer channel_gelu, channel_relu2, channel_swiglu;
extern const LossLayer loss_dense; /* logits = x W, without a bias */

/* Fills the option values from the defaults, the variant's mixer_set and then `set` ("k=v k=v", may
 * be NULL), c->recipe from the variant and `set`, and c->ffn from the default where it is 0.
 * ST_USAGE names the key or value that is wrong. */
Status mix_options(const Variant *v, const char *set, MixCtx *c);
Status option_parse(const Option *options, const char *set, double opt[]);
/* What params_help says of a parameter; NULL: nothing. */
const char *help_of(const char *params_help, const char *name, int *len);
/* The option of that name among all of a variant; NULL: there is none. */
const Option *variant_option(const Variant *v, const char *name, size_t len);
/* The options of mixer, channel mixer and loss layer as one list: entry i, NULL behind the last,
 * and its value in a context. */
const Option *variant_option_at(const Variant *v, int i);
double *variant_option_value(const Variant *v, MixCtx *c, int i);
/* Checks the caps against the context, then asks mixer, channel mixer and loss layer. */
Status mix_accepts(const Variant *v, const MixCtx *c);
int option_count(const Option *options);

/* The choices of one layer, kept outside the tape: made anew at every run, but replayed when
 * `frozen` and when a block is run again for its backward pass. A zero value is fine. */
typedef struct Choices {
    Tensor part[MIX_MAX_PARTS];
    bool frozen;
} Choices;
void choices_free(Dev *d, Choices *ch);

/* The three stages in a row; without gradients intermediates are freed between them. ch may be
 * NULL for mixers without CAP_CHOICES. */
Tensor *mixer_run(Tape *t, const Mixer *m, const MixIn *in, Choices *ch, Tensor *x);
/* The same for a channel mixer. */
Tensor *channel_run(Tape *t, const ChannelMixer *m, const MixIn *in, Choices *ch, Tensor *x);

#ifdef __cplusplus
}
#endif
#endif
