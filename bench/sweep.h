/* sweep.h - what a run is to measure: groups of axes, and the points that they span. */
#ifndef LONGMIX_SWEEP_H
#define LONGMIX_SWEEP_H

#include "bench/parse.h"
#include "report/row.h"

enum { SWEEP_MAX_GROUPS = 16, SWEEP_MAX_VARIANTS = 64 };

/* A product of axes. Sets are bit masks; bit i of variants is variant_table[i]. */
typedef struct Group {
    uint64_t variants, levels, passes, impls;
    Lengths n;
    double time_limit; /* seconds a case; 0: the sweep's */
    bool must;         /* never left out for the budget */
    bool watch;        /* a ROW_OPS for every case */
    uint64_t sizes;    /* not 0, and the sweep has none: these of size_table */
    bool asked;        /* by the command line: combinations that do not exist become rows, too */
    uint64_t kernels;  /* level kernel: bit i is kernel_table[i]; their sizes are listed */
    bool some_n, some_passes; /* of the kernels, only those of n and passes */
    int64_t step_tokens; /* > 0, fwd, bwd and train: batch = max(1, step_tokens / n), unless the
                            sweep says so */
} Group;

/* The short trainings behind the quality part, at equal numbers of parameters; tokens 0: none. */
typedef struct Training {
    uint64_t variants;
    int64_t tokens, n, batch; /* of the whole training; context; sequences a step */
    int64_t min_tokens;       /* with a budget: no fewer */
    double time_limit;
    double budget; /* seconds for all trainings, which get what cases leave, too; 0: no end */
} Training;

/* What of a profile follows the device; see fit.h. */
enum { FIT_WIDTH = 1, FIT_TOKENS = 2, FIT_LIMITS = 4 };

typedef struct Sweep {
    char profile[16], backend[8];
    Group group[SWEEP_MAX_GROUPS];
    int n_groups;
    Training training;
    int width, heads, layers;
    int vocab;           /* 0: bytes */
    uint64_t sizes;      /* not 0: these of size_table in place of width, heads and layers */
    int threads;         /* 0: as many as the machine allows */
    int64_t batch;       /* sequences a step, unless: */
    int64_t step_tokens; /* > 0: batch = max(1, step_tokens / n) */
    int64_t segment;
    int64_t mem_limit; /* bytes; 0: a share of what is free */
    unsigned fits;     /* what is fitted to the device before anything is planned */
    int device;        /* which GPU */
    char math[8];      /* how products are computed; "": as the device does by itself */
    bool causal, hot, fresh, dry_run;
    bool profile_ops; /* a ROW_OPS for every case of every group */
    char peer[512];   /* a program to be compared with, instead of a sweep; "": none */
    uint64_t seed;
    char set[160];
    char match[32]; /* a variant: the others get its number of parameters by other widths; "" */
    double time_limit, budget; /* seconds a case; for all of them, 0: as long as it takes */
    char out[512], data[512];
    bool no_text; /* trainings were wanted, but the default text is not there */
} Sweep;

/* The dtype of its cases. */
const char *sweep_dtype(const Sweep *s);

/* Names of all variants in the order of variant_table, ending in NULL. */
typedef struct VariantNames {
    const char *name[SWEEP_MAX_VARIANTS + 1];
} VariantNames;
VariantNames variant_names(void);

typedef struct KernelNames {
    const char *name[SWEEP_MAX_VARIANTS + 1];
} KernelNames;
KernelNames kernel_names(void); /* in the order of kernel_table, likewise */

/* What the parts say only together: heads divide the width, --set is known to a variant. ST_USAGE.
 */
Status sweep_check(const Sweep *s);

/* The points, each once, in the order of the groups. threads and mem_limit must be resolved. The
 * caller frees *cases. */
typedef struct SweepCase {
    Case c;
    bool must, watch;
} SweepCase;
Status sweep_cases(const Sweep *s, SweepCase **cases, int *n);
/* The trainings as cases: level model, pass train, sizes 0, for they are solved. Free *cases. */
Status sweep_trainings(const Sweep *s, SweepCase **cases, int *n);

#endif
