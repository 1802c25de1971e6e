/* fields.c - the tables, and what can be done with a field without knowing which it is. */
#include "report/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Place and size of a member: two columns of a table. */
#define AT(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)

enum {
    IN_RUN = 1 << ROW_RUN,
    IN_TEXT = 1 << ROW_TEXT,
    IN_ROOF = 1 << ROW_ROOF,
    IN_CHECK = 1 << ROW_CHECK,
    IN_CASE = 1 << ROW_CASE,
    IN_PEER = 1 << ROW_PEER,
    IN_OPS = 1 << ROW_OPS,
    IN_TRAIN = 1 << ROW_TRAIN,
    TIMED = IN_CASE | IN_TRAIN,
    OF_CASE = IN_CHECK | IN_PEER | IN_OPS | TIMED
};

const Field case_fields[] = {
    {"variant", FIELD_TEXT, AT(Case, variant)},
    {"backend", FIELD_TEXT, AT(Case, backend)},
    {"dtype", FIELD_TEXT, AT(Case, dtype)},
    {"level", FIELD_NAME, AT(Case, level), .names = level_names},
    {"pass", FIELD_NAME, AT(Case, pass), .names = pass_names},
    {"impl", FIELD_NAME, AT(Case, impl), .names = impl_names},
    {"n", FIELD_I64, AT(Case, n)},
    {"batch", FIELD_I64, AT(Case, batch)},
    {"width", FIELD_INT, AT(Case, width)},
    {"heads", FIELD_INT, AT(Case, heads)},
    {"layers", FIELD_INT, AT(Case, layers)},
    {"ffn", FIELD_INT, AT(Case, ffn)},
    {"vocab", FIELD_INT, AT(Case, vocab)},
    {"size", FIELD_TEXT, AT(Case, size)},
    {"segment", FIELD_I64, AT(Case, segment)},
    {"threads", FIELD_INT, AT(Case, threads)},
    {"causal", FIELD_BOOL, AT(Case, causal)},
    {"hot", FIELD_BOOL, AT(Case, hot)},
    {"evict", FIELD_BOOL, AT(Case, evict)},
    {"seed", FIELD_U64, AT(Case, seed)},
    {"set", FIELD_TEXT, AT(Case, set)},
    {"time_limit", FIELD_REAL, AT(Case, time_limit)},
    {"mem_limit", FIELD_I64, AT(Case, mem_limit)},
    {.name = NULL},
};

static const Field timing_fields[] = {
    {"inner", FIELD_INT, AT(Timing, inner)},
    {"median", FIELD_REAL, AT(Timing, median)},
    {"p20", FIELD_REAL, AT(Timing, p20)},
    {"p80", FIELD_REAL, AT(Timing, p80)},
    {"min", FIELD_REAL, AT(Timing, min)},
    {"ci_lo", FIELD_REAL, AT(Timing, ci_lo)},
    {"ci_hi", FIELD_REAL, AT(Timing, ci_hi)},
    {"stop_reason", FIELD_TEXT, AT(Timing, stop_reason)},
    {"quiet", FIELD_BOOL, AT(Timing, quiet)},
    {"seconds", FIELD_REALS, AT(Timing, seconds), .count = offsetof(Timing, n)},
    {.name = NULL},
};

/* Beside the others, so that it can be left out. */
static const Field throttle_fields[] = {
    {"reasons", FIELD_TEXT, AT(Timing, throttle)},
    {"samples", FIELD_REALS, AT(Timing, throttled), .count = offsetof(Timing, n_throttled)},
    {.name = NULL},
};

static const Field gpu_use_fields[] = {
    {"flushed_bytes", FIELD_I64, AT(GpuUse, flushed_bytes)},
    {"pool_bytes", FIELD_I64, AT(GpuUse, pool_bytes)},
    {.name = NULL},
};

static const Field gpu_fields[] = {
    {"name", FIELD_TEXT, AT(Gpu, name)},
    {"driver", FIELD_TEXT, AT(Gpu, driver)},
    {"ecc", FIELD_TEXT, AT(Gpu, ecc)},
    {"math", FIELD_TEXT, AT(Gpu, math)},
    {"throttle", FIELD_TEXT, AT(Gpu, throttle)},
    {"device", FIELD_INT, AT(Gpu, device)},
    {"memory", FIELD_I64, AT(Gpu, memory)},
    {"free", FIELD_I64, AT(Gpu, free)},
    {"cache", FIELD_I64, AT(Gpu, cache)},
    {"clock", FIELD_INT, AT(Gpu, clock)},
    {"memory_clock", FIELD_INT, AT(Gpu, memory_clock)},
    {.name = NULL},
};

static const Field memory_fields[] = {
    {"counted", FIELD_I64, AT(Memory, counted)},
    {"param", FIELD_I64, AT(Memory, param)},
    {"grad", FIELD_I64, AT(Memory, grad)},
    {"optim", FIELD_I64, AT(Memory, optim)},
    {"act", FIELD_I64, AT(Memory, act)},
    {"state", FIELD_I64, AT(Memory, state)},
    {"input", FIELD_I64, AT(Memory, input)},
    {"work", FIELD_I64, AT(Memory, work)},
    {"rss", FIELD_I64, AT(Memory, rss)},
    {"n_allocs", FIELD_I64, AT(Memory, n_allocs)},
    {.name = NULL},
};

static const Field leak_fields[] = {
    {"rows", FIELD_I64, AT(Leak, rows)},
    {"of", FIELD_I64, AT(Leak, of)},
    {"largest", FIELD_REAL, AT(Leak, largest)},
    {"held", FIELD_REAL, AT(Leak, held)},
    {.name = NULL},
};

static const Field point_fields[] = {
    {"step", FIELD_I64, AT(Point, step)},
    {"tokens", FIELD_I64, AT(Point, tokens)},
    {"seconds", FIELD_REAL, AT(Point, seconds)},
    {"train_bpb", FIELD_REAL, AT(Point, train_bpb)},
    {"valid_bpb", FIELD_REAL, AT(Point, valid_bpb)},
    {.name = NULL},
};

static const Field op_fields[] = {
    {"op", FIELD_TEXT, AT(OpShare, op)},
    {"backward", FIELD_BOOL, AT(OpShare, backward)},
    {"calls", FIELD_I64, AT(OpShare, calls)},
    {"allocs", FIELD_I64, AT(OpShare, allocs)},
    {"seconds", FIELD_REAL, AT(OpShare, seconds)},
    {"flops", FIELD_REAL, AT(OpShare, flops)},
    {"bytes", FIELD_REAL, AT(OpShare, bytes)},
    {"roof", FIELD_NAME, AT(OpShare, roof), .names = roof_names},
    {"roof_fraction", FIELD_REAL, AT(OpShare, roof_fraction)},
    {.name = NULL},
};

const Field row_fields[] = {
    {"kind", FIELD_NAME, AT(Row, kind), .names = row_kind_names},
    {"run", FIELD_TEXT, AT(Row, run)},
    {"build", FIELD_TEXT, AT(Row, build)},
    {"time", FIELD_REAL, AT(Row, time)},
    {"case", FIELD_OBJECT, AT(Row, c), OF_CASE, .fields = case_fields},
    {"status", FIELD_NAME, AT(Row, status), OF_CASE, .names = row_status_names},
    {"reason", FIELD_TEXT, AT(Row, reason), OF_CASE},

    {"predicted_seconds", FIELD_REAL, AT(Row, predicted_seconds), TIMED},
    {"predicted", FIELD_OBJECT, AT(Row, predicted), TIMED, .fields = memory_fields},
    {"memory", FIELD_OBJECT, AT(Row, memory), TIMED, .fields = memory_fields},
    {"flops", FIELD_REAL, AT(Row, flops), TIMED},
    {"bytes", FIELD_REAL, AT(Row, bytes), TIMED},
    {"executed", FIELD_REAL, AT(Row, executed), IN_CASE},
    {"params", FIELD_I64, AT(Row, params), TIMED},
    {"tokens", FIELD_I64, AT(Row, tokens), TIMED},
    {"timing", FIELD_OBJECT, AT(Row, timing), TIMED | IN_PEER, .fields = timing_fields},
    {"throttle", FIELD_OBJECT, AT(Row, timing), TIMED | IN_PEER, .fields = throttle_fields},
    {"gpu_use", FIELD_OBJECT, AT(Row, gpu_use), TIMED, .fields = gpu_use_fields},
    {"roof", FIELD_NAME, AT(Row, roof), TIMED, .names = roof_names},
    {"roof_rate", FIELD_REAL, AT(Row, roof_rate), TIMED},
    {"roof_fraction", FIELD_REAL, AT(Row, roof_fraction), TIMED},
    {"fraction_lo", FIELD_REAL, AT(Row, fraction_lo), IN_CASE},
    {"fraction_hi", FIELD_REAL, AT(Row, fraction_hi), IN_CASE},
    {"bar", FIELD_REAL, AT(Row, bar), IN_CASE | IN_PEER},
    {"peer", FIELD_TEXT, AT(Row, peer), IN_PEER},
    {"peer_runs", FIELD_TEXT, AT(Row, peer_runs), IN_PEER},
    {"peer_seconds", FIELD_REAL, AT(Row, peer_seconds), IN_PEER},
    {"ratio", FIELD_REAL, AT(Row, ratio), IN_PEER},
    {"ratio_lo", FIELD_REAL, AT(Row, ratio_lo), IN_PEER},
    {"ratio_hi", FIELD_REAL, AT(Row, ratio_hi), IN_PEER},
    {"segment_slope", FIELD_REAL, AT(Row, segment_slope), IN_CASE},
    {"rotated_bytes", FIELD_I64, AT(Row, rotated_bytes), IN_CASE},

    {"ops", FIELD_OBJECTS, AT(Row, op), IN_OPS, .count = offsetof(Row, n_ops), .fields = op_fields,
     .stride = sizeof(OpShare)},
    {"step_seconds", FIELD_REAL, AT(Row, step_seconds), IN_OPS},
    {"watched_seconds", FIELD_REAL, AT(Row, watched_seconds), IN_OPS},
    {"region_seconds", FIELD_REAL, AT(Row, region_seconds), IN_OPS},
    {"system_allocs", FIELD_I64, AT(Row, system_allocs), IN_OPS},

    {"error", FIELD_REAL, AT(Row, error), IN_CHECK},
    {"tolerance", FIELD_REAL, AT(Row, tolerance), IN_CHECK},
    {"leak", FIELD_OBJECT, AT(Row, leak), IN_CHECK, .fields = leak_fields},

    {"embed_params", FIELD_I64, AT(Row, embed_params), IN_TRAIN},
    {"steps", FIELD_I64, AT(Row, steps), IN_TRAIN},
    {"train_tokens", FIELD_I64, AT(Row, train_tokens), IN_TRAIN},
    {"lr", FIELD_REAL, AT(Row, lr), IN_TRAIN},
    {"valid_bpb", FIELD_REAL, AT(Row, valid_bpb), IN_TRAIN},
    {"test_bpb", FIELD_REAL, AT(Row, test_bpb), IN_TRAIN},
    {"train_seconds", FIELD_REAL, AT(Row, train_seconds), IN_TRAIN},
    {"eval_seconds", FIELD_REAL, AT(Row, eval_seconds), IN_TRAIN},
    {"test_bytes", FIELD_I64, AT(Row, test_bytes), IN_TRAIN},
    {"points", FIELD_OBJECTS, AT(Row, point), IN_TRAIN, .count = offsetof(Row, n_points),
     .fields = point_fields, .stride = sizeof(Point)},
    {"bucket_bpb", FIELD_REALS, AT(Row, bucket_bpb), IN_TRAIN, .count = offsetof(Row, n_buckets)},

    {"text_name", FIELD_TEXT, AT(Row, text_name), IN_TEXT},
    {"text_sha256", FIELD_TEXT, AT(Row, text_sha256), IN_TEXT | IN_TRAIN},
    {"text_bytes", FIELD_I64, AT(Row, text_bytes), IN_TEXT},
    {"entropy_0", FIELD_REAL, AT(Row, entropy[0]), IN_TEXT},
    {"entropy_1", FIELD_REAL, AT(Row, entropy[1]), IN_TEXT},
    {"entropy_2", FIELD_REAL, AT(Row, entropy[2]), IN_TEXT},
    {"xz_bpb", FIELD_REAL, AT(Row, xz_bpb), IN_TEXT},

    {"sgemm_own", FIELD_REAL, AT(Row, sgemm_own), IN_ROOF},
    {"sgemm_blas", FIELD_REAL, AT(Row, sgemm_blas), IN_ROOF},
    {"read_bandwidth", FIELD_REAL, AT(Row, read_bandwidth), IN_ROOF},
    {"blas_core", FIELD_TEXT, AT(Row, blas_core), IN_ROOF},

    {"host_cpu", FIELD_TEXT, AT(Row, host_cpu), IN_RUN},
    {"os", FIELD_TEXT, AT(Row, os), IN_RUN},
    {"compiler", FIELD_TEXT, AT(Row, compiler), IN_RUN},
    {"flags", FIELD_TEXT, AT(Row, flags), IN_RUN},
    {"commit", FIELD_TEXT, AT(Row, commit), IN_RUN},
    {"date", FIELD_TEXT, AT(Row, date), IN_RUN},
    {"isa", FIELD_TEXT, AT(Row, isa), IN_RUN},
    {"command", FIELD_TEXT, AT(Row, command), IN_RUN},
    {"profile", FIELD_TEXT, AT(Row, profile), IN_RUN},
    {"cuda", FIELD_TEXT, AT(Row, cuda), IN_RUN},
    {"n_cores", FIELD_INT, AT(Row, n_cores), IN_RUN},
    {"n_threads", FIELD_INT, AT(Row, n_threads), IN_RUN},
    {"total_memory", FIELD_I64, AT(Row, total_memory), IN_RUN},
    {"gpu", FIELD_OBJECT, AT(Row, gpu), IN_RUN, .fields = gpu_fields},
    {.name = NULL},
};

static bool fields_blank(const Field *fields, const void *base)
{
    for (const Field *f = fields; f->name != NULL; f++)
        if (!field_blank(f, base))
            return false;
    return true;
}

bool field_blank(const Field *f, const void *base)
{
    const void *at = field_at(f, base);
    switch (f->type) {
    case FIELD_BOOL:
        return !*(const bool *)at;
    case FIELD_INT:
    case FIELD_NAME:
        return *(const int *)at == 0;
    case FIELD_I64:
    case FIELD_U64:
        return *(const int64_t *)at == 0;
    case FIELD_REAL:
        return *(const double *)at == 0;
    case FIELD_TEXT:
        return *(const char *)at == '\0';
    case FIELD_OBJECT:
        return fields_blank(f->fields, at);
    case FIELD_REALS:
    case FIELD_OBJECTS:
        return field_count(f, base) == 0;
    }
    return false;
}

int field_compare(const Field *f, const void *base_a, const void *base_b)
{
    const void *a = field_at(f, base_a), *b = field_at(f, base_b);
    switch (f->type) {
    case FIELD_BOOL:
        return *(const bool *)a - *(const bool *)b;
    case FIELD_INT:
    case FIELD_NAME:
        return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
    case FIELD_I64:
        return (*(const int64_t *)a > *(const int64_t *)b) -
               (*(const int64_t *)a < *(const int64_t *)b);
    case FIELD_U64:
        return (*(const uint64_t *)a > *(const uint64_t *)b) -
               (*(const uint64_t *)a < *(const uint64_t *)b);
    case FIELD_REAL:
        return (*(const double *)a > *(const double *)b) -
               (*(const double *)a < *(const double *)b);
    case FIELD_TEXT:
        return strcmp(a, b);
    case FIELD_OBJECT:
    case FIELD_REALS:
    case FIELD_OBJECTS:
        break;
    }
    CHECK(f->type < FIELD_OBJECT);
    return 0;
}

int field_text(const Field *f, const void *base, char *text, size_t size)
{
    const void *at = field_at(f, base);
    switch (f->type) {
    case FIELD_BOOL:
        return snprintf(text, size, "%d", *(const bool *)at);
    case FIELD_INT:
        return snprintf(text, size, "%d", *(const int *)at);
    case FIELD_NAME:
        return snprintf(text, size, "%s", f->names[*(const int *)at]);
    case FIELD_I64:
        return snprintf(text, size, "%" PRId64, *(const int64_t *)at);
    case FIELD_U64:
        return snprintf(text, size, "%" PRIu64, *(const uint64_t *)at);
    case FIELD_REAL:
        return snprintf(text, size, "%.17g", *(const double *)at);
    case FIELD_TEXT:
        return snprintf(text, size, "%s", (const char *)at);
    case FIELD_OBJECT:
    case FIELD_REALS:
    case FIELD_OBJECTS:
        break;
    }
    CHECK(f->type < FIELD_OBJECT);
    return 0;
}
