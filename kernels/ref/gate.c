/* gate.c - activations, gated products, and the per-column gain and bias of GAU. */
#include "kernels/ref/ref.h"

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* GELU, tanh form: x/2 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3). */
static const double GELU_SCALE = 0.79788456080286535588; /* sqrt(2 / pi) */
static const double GELU_CUBIC = 0.044715;

static double gelu(double x)
{
    return 0.5 * x * (1.0 + tanh(GELU_SCALE * (x + GELU_CUBIC * x * x * x)));
}

static double gelu_slope(double x)
{
    double t = tanh(GELU_SCALE * (x + GELU_CUBIC * x * x * x));
    double du = GELU_SCALE * (1.0 + 3.0 * GELU_CUBIC * x * x);
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * du;
}

static double f(Act act, double x)
{
    switch (act) {
    case ACT_NONE:
        return x;
    case ACT_RELU:
        return ref_relu(x);
    case ACT_RELU2:
        return ref_relu(x) * ref_relu(x);
    case ACT_SILU:
        return x * sigmoid(x);
    case ACT_GELU:
        return gelu(x);
    case ACT_SIGMOID:
        return sigmoid(x);
    }
    check_failed("a known activation", __FILE__, __LINE__);
}

/* df/dx; 0 at the corner of ReLU. */
static double slope(Act act, double x)
{
    switch (act) {
    case ACT_NONE:
        return 1.0;
    case ACT_RELU:
        return x > 0.0 ? 1.0 : 0.0;
    case ACT_RELU2:
        return 2.0 * ref_relu(x);
    case ACT_SILU:
        return sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)));
    case ACT_GELU:
        return gelu_slope(x);
    case ACT_SIGMOID:
        return sigmoid(x) * (1.0 - sigmoid(x));
    }
    check_failed("a known activation", __FILE__, __LINE__);
}

Status ref_gate_fwd(Dev *d, const Gate *g)
{
    const double *a = g->a, *b = g->b;
    double *y = g->y;
    (void)d;
    for (int64_t i = 0; i < g->n; i++)
        y[i] = f(g->act, a[i]) * (b != NULL ? b[i] : 1.0);
    return ST_OK;
}

Status ref_gate_bwd(Dev *d, const Gate *g)
{
    const double *a = g->a, *b = g->b, *dy = g->dy;
    double *da = g->da, *db = g->db;
    (void)d;
    for (int64_t i = 0; i < g->n && da != NULL; i++)
        da[i] += dy[i] * slope(g->act, a[i]) * (b != NULL ? b[i] : 1.0);
    for (int64_t i = 0; i < g->n && db != NULL; i++)
        db[i] += dy[i] * f(g->act, a[i]);
    return ST_OK;
}

Status ref_affine_fwd(Dev *d, const Affine *a)
{
    const double *x = a->x, *gain = a->gain, *bias = a->bias;
    double *y = a->y;
    (void)d;
    for (int64_t i = 0; i < a->rows * a->width; i++) {
        int64_t c = i % a->width;
        y[i] = x[i] * (gain != NULL ? gain[c] : 1.0) + (bias != NULL ? bias[c] : 0.0);
    }
    return ST_OK;
}

Status ref_affine_bwd(Dev *d, const Affine *a)
{
    const double *x = a->x, *gain = a->gain, *dy = a->dy;
    double *dx = a->dx, *dgain = a->dgain, *dbias = a->dbias;
    (void)d;
    for (int64_t i = 0; i < a->rows * a->width; i++) {
        int64_t c = i % a->width;
        if (dx != NULL)
            dx[i] += dy[i] * (gain != NULL ? gain[c] : 1.0);
        if (dgain != NULL)
            dgain[c] += dy[i] * x[i];
        if (dbias != NULL)
            dbias[c] += dy[i];
    }
    return ST_OK;
}
