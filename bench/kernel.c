/* kernel.c - the sizes of a kernel's case, and its work; see kernel.h. */
#include "bench/kernel.h"

#include <string.h>

const Option kernel_options[KERNEL_OPTIONS + 1] = {
    {"s", 128, 2, 4096, true, "width of shared queries and keys"},
    {"c", 256, 1, 1 << 20, true, "chunk length"},
    {"k", 256, 1, 1 << 20, true, "inner size of a product"},
    {"form", 0, 0, 2, true, "of a linear layer's products: 0 x w, 1 x' dy, 2 dy w'"},
    {"vocab", 256, 2, 1 << 20, true, "vocabulary"},
    {"layers", 4, 1, 1 << 10, true, "of a whole model"},
    {0},
};

const Kernel *const kernel_table[] = {
    &kernel_attention, &kernel_relu2,         &kernel_chunks, &kernel_gemm,
    &kernel_gemm_blas, &kernel_matvec,        &kernel_norm,   &kernel_gate,
    &kernel_rope,      &kernel_add,           &kernel_affine, &kernel_conv,
    &kernel_embed,     &kernel_cross_entropy, &kernel_adamw,  &kernel_lm_step,
    &kernel_lm_decode, &kernel_prefill,       NULL,
};

const Kernel *kernel_find(const char *name)
{
    for (int i = 0; kernel_table[i] != NULL; i++)
        if (strcmp(kernel_table[i]->name, name) == 0)
            return kernel_table[i];
    return NULL;
}

Status kernel_shape(const Case *c, KernelShape *s)
{
    double opt[KERNEL_OPTIONS];
    for (int i = 0; i < KERNEL_OPTIONS; i++)
        opt[i] = kernel_options[i].value;
    *s = (KernelShape){.pass = c->pass,
                       .n = c->n,
                       .batch = c->batch,
                       .rows = c->n * c->batch,
                       .heads = c->heads,
                       .width = c->width};
    TRY(option_parse(kernel_options, c->set, opt));
    for (int i = 0; i < KERNEL_OPTIONS; i++)
        s->opt[i] = (int64_t)opt[i];
    return ST_OK;
}

static double times_moved(Role role)
{
    return role == ROLE_SUM ? 2 : role == ROLE_PREPARE ? 0 : 1;
}

Cost kernel_cost(const KernelPlan *p, size_t real)
{
    Cost sum = {.flops = p->flops};
    for (const Operand *o = p->operand; o < p->operand + p->n; o++) {
        double size = o->role == ROLE_IDS ? sizeof(int32_t) : (double)real;
        sum.bytes += times_moved(o->role) * size * (double)o->n;
    }
    return sum;
}

double kernel_bar(const Case *c)
{
    for (const KernelCase *k = kernel_cases; k->kernel != NULL; k++)
        if (strcmp(k->kernel, c->variant) == 0 && k->pass == c->pass && k->n == c->n &&
            k->batch == c->batch && k->heads == c->heads && k->width == c->width &&
            strcmp(k->set, c->set) == 0)
            return k->bar;
    return 0;
}
