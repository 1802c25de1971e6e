/* row.h - Case, one point of a sweep, and Row, one line of results: plain values.
 *
 * A journal is JSON lines, one complete row a line (SCHEMA.md). The first line of each run is a
 * ROW_RUN that describes machine and build; the others name it by its run id. */
#ifndef LONGMIX_ROW_H
#define LONGMIX_ROW_H

#include "kernels/base.h"

enum {
    ROW_SCHEMA = 2,
    ROW_MAX_SAMPLES = 256,
    ROW_MAX_POINTS = 64,
    ROW_MAX_BUCKETS = 16,
    ROW_MAX_OPS = 48
};

typedef enum Level { LEVEL_MIX, LEVEL_LAYER, LEVEL_MODEL, LEVEL_KERNEL, LEVELS } Level;
typedef enum Pass { PASS_FWD, PASS_BWD, PASS_TRAIN, PASS_PREFILL, PASS_DECODE, PASSES } Pass;
typedef enum Impl { IMPL_TILED, IMPL_NAIVE, IMPLS } Impl;
/* Tables of names end in NULL. */
extern const char *const level_names[LEVELS + 1]; /* "mix", "layer", "model", "kernel" */
extern const char *const pass_names[PASSES + 1];  /* "fwd", "bwd", ... */
extern const char *const impl_names[IMPLS + 1];   /* "tiled", "naive" */

/* What a case's rate is held against. */
typedef enum Roof {
    ROOF_NONE,      /* nothing was measured beside it */
    ROOF_SGEMM,     /* single-precision matrix product, flop/s */
    ROOF_BANDWIDTH, /* reading memory, bytes/s */
    ROOF_START,     /* the same work at a short length, tokens/s */
    ROOFS
} Roof;
extern const char *const roof_names[ROOFS + 1]; /* "none", "sgemm", "bandwidth", "start" */

/* One point of a sweep. Everything that can change a number stands here. */
typedef struct Case {
    char variant[32], backend[8]; /* variant: at level kernel, the kernel's name */
    char dtype[8]; /* how products are computed: "f32", "tf32", "bf16"; "f64" on ref */
    Level level;
    Pass pass;
    Impl impl;
    int64_t n, batch; /* context length in tokens, sequences a step */
    int width, heads, layers;
    int ffn, vocab;  /* 0: the variant's own, bytes */
    char size[16];   /* a published size by name, whose numbers stand above; "" */
    int64_t segment; /* prefill: tokens a segment */
    int threads;
    bool causal, hot; /* hot: the same inputs each step, caches warm */
    bool evict;       /* decode: caches are emptied before each token */
    uint64_t seed;
    char set[192];     /* options of the variant, "key=value key=value" */
    double time_limit; /* seconds for the whole case */
    int64_t mem_limit; /* bytes */
} Case;

typedef enum RowKind {
    ROW_RUN,   /* machine, build, command line */
    ROW_TEXT,  /* reference entropies of the text */
    ROW_ROOF,  /* measured SGEMM rate and memory bandwidth */
    ROW_CHECK, /* a variant held against ref before it is timed */
    ROW_CASE,  /* a timed point */
    ROW_PEER,  /* a case beside another program */
    ROW_OPS,   /* where the time of a case's step goes, op by op */
    ROW_TRAIN, /* a training with its held-out bits per byte */
    ROW_END,   /* the run finished: what was planned is all here */
    ROW_KINDS
} RowKind;

typedef enum RowStatus {
    ROW_OK,
    ROW_OOM,
    ROW_OOM_PREDICTED,
    ROW_TIMEOUT,
    ROW_TIMEOUT_PREDICTED,
    ROW_UNSUPPORTED,
    ROW_FAILED_CHECK,
    ROW_CRASH,
    ROW_SKIPPED_AFTER,  /* after a real failure at a smaller T */
    ROW_SKIPPED_BUDGET, /* the profile's time is spent */
    ROW_STATUSES
} RowStatus;
extern const char *const row_kind_names[ROW_KINDS + 1];      /* "run", "text", ... */
extern const char *const row_status_names[ROW_STATUSES + 1]; /* "ok", "oom", "oom_predicted", ... */

/* Seconds of one step, distribution-free: quantiles, and the 99 % sign interval of the median. */
typedef struct Timing {
    int n, inner; /* samples; steps in each */
    double seconds[ROW_MAX_SAMPLES];
    double median, p20, p80, min, ci_lo, ci_hi;
    char stop_reason[24]; /* "interval", "time", "samples", "single", "stolen" */
    bool quiet;           /* narrow enough, and the machine as fast after the case as before */
    char throttle[40];    /* why a GPU's clocks were lowered around samples: "power heat"; "" */
    int n_throttled;
    double throttled[ROW_MAX_SAMPLES]; /* which samples that were, ascending from 0 */
} Timing;

/* What there is on a GPU alone; zero elsewhere. */
typedef struct GpuUse {
    int64_t flushed_bytes; /* written before each step to empty its cache, outside of the times */
    int64_t pool_bytes;    /* in use at most, as the driver counts, with kernels' scratch */
} GpuUse;

/* A GPU of a machine, as it was at the start of a run. */
typedef struct Gpu {
    char name[64], driver[16], ecc[8], math[8]; /* math: of products, where no option says it */
    char throttle[40];                          /* as in Timing, before anything ran */
    int device;                                 /* its number */
    int64_t memory, free, cache;                /* bytes */
    int clock, memory_clock;                    /* MHz */
} Gpu;

/* Bytes. counted is the peak of what dev_alloc counted but scratch; the same on every backend. */
typedef struct Memory {
    int64_t counted, param, grad, optim, act, state, input, work; /* peaks by tag */
    int64_t rss; /* peak above the worker's baseline */
    int64_t n_allocs;
} Memory;

typedef struct Point {
    int64_t step, tokens;
    double seconds, train_bpb, valid_bpb; /* valid_bpb: NaN where it was not evaluated */
} Point;

/* An op in a step, or what is outside of them: "allocation" and "tape". */
typedef struct OpShare {
    char op[24];
    bool backward;
    int64_t calls, allocs; /* of a step; blocks of memory asked for since the op before */
    double seconds;        /* in it, but not in what it called */
    double flops, bytes;
    Roof roof;
    double roof_fraction;
} OpShare;

/* What a later position does to rows before it, of causal blocks that choose. */
typedef struct Leak {
    int64_t rows, of; /* earlier rows that change, of how many */
    double largest;   /* change, over the largest number of the output */
    double held;      /* the same with choices held fixed: only rounding is allowed */
} Leak;

typedef struct Row {
    RowKind kind;
    char run[24];   /* run id: of the ROW_RUN it belongs to */
    char build[24]; /* build id */
    double time;    /* UNIX time, seconds */
    Case c;         /* CHECK, CASE, TRAIN */
    RowStatus status;
    char reason[256]; /* why, for every status but ok */

    /* CASE, TRAIN: predicted by the dry backend before the case ran, and measured */
    double predicted_seconds;
    Memory predicted, memory;
    double flops, bytes; /* of one step, by the formulas; useful work only */
    double executed;     /* CASE: what the kernels' products did in a step, counted; 0: not known */
    int64_t params;      /* trainable numbers, embeddings apart */
    int64_t tokens;      /* tokens of one step */
    Timing timing;
    Roof roof;                       /* which one limits this case: see SCHEMA.md */
    double roof_rate, roof_fraction; /* in the roof's unit; the case's own rate as a part of it */
    double fraction_lo, fraction_hi; /* level kernel: 99 % interval of the paired fractions */
    double bar;                      /* level kernel, PEER: what is asked for; 0: nothing */
    /* prefill: seconds per token of segments at the start, middle and end of the pass */
    double segment_slope;  /* relative change of a segment's time from first to last tenth */
    int64_t rotated_bytes; /* inputs, with gradients, that steps took in turn; 0: always one */
    GpuUse gpu_use;        /* also of TRAIN */

    /* PEER: timing is ours */
    char peer[96], peer_runs[96];                   /* its name and version; what it runs */
    double peer_seconds, ratio, ratio_lo, ratio_hi; /* peer's time / ours, 99 % interval */

    /* OPS */
    int n_ops;
    OpShare op[ROW_MAX_OPS];
    double step_seconds, watched_seconds; /* median of a step, and of one that is watched */
    double region_seconds;                /* to start the threads once, with nothing to do */
    int64_t system_allocs;                /* of the watched steps, those that went to the system */

    /* CHECK */
    double error, tolerance; /* largest relative error against ref, and what is allowed */
    Leak leak;               /* on ref; of: 0 where there cannot be one */

    /* TRAIN */
    int64_t embed_params, steps, train_tokens;
    double lr, valid_bpb, test_bpb, train_seconds, eval_seconds;
    int64_t test_bytes; /* how many bytes test_bpb is the mean of */
    int n_points, n_buckets;
    Point point[ROW_MAX_POINTS];
    double bucket_bpb[ROW_MAX_BUCKETS]; /* by position: bucket i is [2^i - 1, 2^(i+1) - 1) */

    /* TEXT; the hash also of TRAIN */
    char text_name[64], text_sha256[72];
    int64_t text_bytes;
    double entropy[3], xz_bpb; /* order 0, 1, 2 conditional entropy and xz, bits per byte */

    /* ROOF */
    double sgemm_own, sgemm_blas, read_bandwidth; /* flop/s, flop/s, bytes/s */
    char blas_core[32];

    /* RUN */
    char host_cpu[96], os[96], compiler[64], flags[512], commit[48], date[32], isa[16],
        command[512];
    char profile[16], cuda[160]; /* cuda: why the GPU is or is not used */
    int n_cores, n_threads;
    int64_t total_memory;
    Gpu gpu; /* that was used */
} Row;

/* A row as one line of JSON without the newline (free it), with its checksum; and back. row_json is
 * NULL when memory is short. row_parse fails with ST_USAGE and a reason that names the field and
 * its value. What is no number or not finite is written as null and read as NaN. */
char *row_json(const Row *r);
Status row_parse(const char *line, size_t len, Row *out);
/* Does the line end in a checksum, and is it that of the line? False for a torn line. */
bool row_whole(const char *line, size_t len);
/* Case alone, for the pipe to a worker: no schema, no checksum. */
char *case_json(const Case *c);
Status case_parse(const char *line, size_t len, Case *out);
/* The same without members that are zero, empty or false, so that builds that know of other members
 * understand each other as long as those are not used. */
char *case_brief_json(const Case *c);
Status case_brief_parse(const char *line, size_t len, Case *out);

/* Keys: text that is equal for what counts as the same thing, at most ROW_KEY_SIZE bytes.
 * case_key: a point of a sweep, every field of the case but the limits.
 * row_key: what a newer row replaces: the kind, and the case (for TRAIN also lr, steps and the
 * SHA-256 of the text) or the text. machine_key: of a ROW_RUN, what has to be equal for times to be
 * comparable. */
enum { ROW_KEY_SIZE = 768 };
void case_key(const Case *c, char *key, size_t size);
void row_key(const Row *r, char *key, size_t size);
void machine_key(const Row *run, char *key, size_t size);

#endif
