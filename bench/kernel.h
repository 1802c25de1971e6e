/* kernel.h - single kernels as cases: level "kernel", where a case's variant is the kernel's name.
 *
 * The sizes that Case does not have are in its `set`. T = n positions in each of `batch` sequences,
 * `width` columns in `heads` heads. */
#ifndef LONGMIX_KERNEL_H
#define LONGMIX_KERNEL_H

#include "kernels/kernels.h"
#include "report/row.h"
#include "variants/template/mixer.h"

enum { KERNEL_MAX_OPERANDS = 12 };

/* In the order of kernel_options: shared key width S, chunk C, inner size of a product, which
 * product of a linear layer (0: x w, 1: x' dy, 2: dy w'), vocabulary, layers of a whole model. */
enum { OPT_S, OPT_C, OPT_K, OPT_FORM, OPT_VOCAB, OPT_LAYERS, KERNEL_OPTIONS };
extern const Option kernel_options[KERNEL_OPTIONS + 1];

typedef struct KernelShape {
    Pass pass;
    int64_t n, batch, rows; /* rows = n * batch */
    int heads, width;
    int64_t opt[KERNEL_OPTIONS];
} KernelShape;
Status kernel_shape(const Case *c, KernelShape *s);

typedef enum Role {
    ROLE_INPUT,
    ROLE_OUTPUT,
    ROLE_SUM,    /* added to or updated in place: zeros at first */
    ROLE_IDS,    /* I32, from 0 to limit - 1 */
    ROLE_PREPARE /* of `prepare` alone: not read by the kernel that is timed */
} Role;
typedef struct Operand {
    int64_t n; /* numbers */
    Role role;
    int64_t limit;
} Operand;

/* Operands and work of one call. Bytes: what is read and written, once each. */
typedef struct KernelPlan {
    int n;
    Operand operand[KERNEL_MAX_OPERANDS];
    double flops;
} KernelPlan;

typedef struct Kernel {
    const char *name, *help;
    void (*plan)(const KernelShape *s, KernelPlan *p);
    Status (*prepare)(Dev *d, const KernelShape *s, void *const p[]); /* before the first; NULL */
    Status (*run)(Dev *d, const KernelShape *s, void *const p[]);
    bool cold; /* operands come from memory: calls take copies of them in turn */
    /* Instead of these: a case of a variant that stands for this one. */
    void (*whole)(const KernelShape *s, Case *inner);
} Kernel;

extern const Kernel kernel_attention, kernel_relu2, kernel_chunks; /* kernel_pairs.c */
extern const Kernel kernel_gemm, kernel_gemm_blas, kernel_matvec;  /* kernel_products.c */
extern const Kernel kernel_norm, kernel_gate, kernel_rope, kernel_add, kernel_affine, kernel_conv,
    kernel_embed, kernel_cross_entropy, kernel_adamw;                 /* kernel_rows.c */
extern const Kernel kernel_lm_step, kernel_lm_decode, kernel_prefill; /* kernel_list.c */

/* All of them, ending in NULL. */
extern const Kernel *const kernel_table[];
const Kernel *kernel_find(const char *name); /* NULL if there is none */

/* What `longmix bench --level kernel` measures, and what is asked of it; kernel NULL ends it. */
typedef struct KernelCase {
    const char *kernel;
    Pass pass;
    int64_t n, batch;
    int heads, width;
    const char *set;
    double bar; /* least fraction of the roof; 0: none */
    bool slow;  /* some ten seconds: has a minute at least */
} KernelCase;
extern const KernelCase kernel_cases[];
/* The bar of a case of that list; 0: none. */
double kernel_bar(const Case *c);

/* The work of one call, where an operand's number has so many bytes. */
Cost kernel_cost(const KernelPlan *p, size_t real);

#endif
