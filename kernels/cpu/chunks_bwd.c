/* chunks_bwd.c - gradients of mixed chunk attention over a whole sequence, group by group. Scratch
 * is O(group (S + C) E), whatever the length.
 *
 * Traffic: v and do are read and laid out anew by each of the products that want them, three times
 * each, and dv is added to twice. At S 128, C 256, E 1024 the products take three quarters of the
 * time, copying and packing of rows that share cache sets (E a multiple of 1024) a fifth. */
#include "kernels/cpu/chunks_bwd.h"

typedef struct Back {
    const Chunks *a;
    Grouping most;
    Local local;
    Scan scan;
    int64_t chunks; /* of the sequence */
} Back;

static Grouping grouping(const Chunks *a)
{
    int64_t floats = (int64_t)a->e * (a->s + min64(a->chunk, a->len));
    int64_t chunks = max64(1, min64(GROUP_FLOATS / floats, ceil_div(a->len, a->chunk)));
    return (Grouping){max64(1, min64(GROUP_FLOATS / (chunks * floats), a->batch)), chunks};
}

/* The group visited after `done` chunks. */
static Group group_at(const Back *k, bool reverse, int64_t b0, int64_t done)
{
    int64_t n = min64(k->most.chunks, k->chunks - done);
    int64_t c0 = reverse ? k->chunks - done - n : done;
    return (Group){b0, min64(b0 + k->most.rows, k->a->batch), c0, c0 + n};
}

/* Before a bidirectional pass: the one state that all chunks see. */
static void sum_states(const Back *k, const Scan *scan, int64_t b0)
{
    for (int64_t c = 0; c < k->chunks; c += k->most.chunks) {
        Group g = group_at(k, scan->reverse, b0, c);
        CPU(scan_states)(scan, &g, 0);
    }
}

/* All groups of some batch rows, in the order of the scan; the first scan takes the local part
 * along, while the rows of its group are in cache. */
static void pass(const Back *k, const Scan *scan, bool linear, bool local, int64_t b0)
{
    bool causal = k->a->causal;
    if (linear)
        CPU(scan_reset)(scan, b0, min64(b0 + k->most.rows, k->a->batch));
    if (linear && !causal)
        sum_states(k, scan, b0);
    for (int64_t c = 0; c < k->chunks; c += k->most.chunks) {
        Group g = group_at(k, scan->reverse, b0, c);
        if (linear && causal)
            CPU(scan_states)(scan, &g, c);
        if (linear)
            CPU(scan_apply)(scan, &g, c);
        if (local)
            CPU(chunks_local_bwd)(&k->local, &g);
    }
}

static void all_passes(const Back *k)
{
    const Chunks *a = k->a;
    Scan forward = k->scan, reverse = k->scan;
    bool linear = a->lin_scale != 0.0 && (k->chunks > 1 || !a->causal);
    bool local = a->dqq != NULL || a->dkq != NULL || a->dv != NULL || a->d_bias != NULL;
    reverse.reverse = true;
#pragma omp parallel if (chunks_work(a, a->len) > PARALLEL_FROM)
    for (int64_t b0 = 0; b0 < a->batch; b0 += k->most.rows) {
        pass(k, &forward, linear && a->dql != NULL, local, b0);
        if (linear && (a->dkl != NULL || a->dv != NULL))
            pass(k, &reverse, true, false, b0);
    }
}

static Status whole(Dev *d, const Chunks *a)
{
    void *scratch;
    size_t local, scan;
    Back k = {.a = a, .most = grouping(a), .chunks = ceil_div(a->len, a->chunk)};
    CPU(chunks_local)(a, &k.most, NULL, &local);
    CPU(chunks_scan)(a, &k.most, NULL, &scan);
    TRY(dev_scratch(d, (local + scan) * sizeof(float), &scratch));
    k.local = CPU(chunks_local)(a, &k.most, scratch, &local);
    k.scan = CPU(chunks_scan)(a, &k.most, (float *)scratch + local, &scan);
    all_passes(&k);
    return ST_OK;
}

Status CPU(chunks_bwd)(Dev *d, const Chunks *a)
{
    CHECK(a->pos == 0 && a->sum == NULL);
    if (a->len == 0 || a->batch == 0)
        return ST_OK;
    Chunks one = chunks_clipped(a);
    return whole(d, &one);
}
