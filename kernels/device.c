/* device.c - accounting, limits, free lists and argument checks above every backend.
 *
 * This is the one door for memory: bytes are counted here as asked for, so that every backend
 * reports the same figures for the same case. */
#include "kernels/device.h"

#include "kernels/kernels.h"
#include "kernels/plugin.h"

#include <stdlib.h>
#include <string.h>

const char *const mem_tag_names[MEM_TAGS] = {"param", "grad",  "optim", "act",
                                             "state", "input", "work"};

enum { BUCKETS = 512 };

/* A freed block that waits to be used again. */
typedef struct Spare {
    size_t size;
    void *ptr;
    struct Spare *next;
} Spare;

struct Dev {
    const Backend *backend;
    const Kernels *kernels;
    void *ctx;
    size_t limit, spare_bytes;
    MemUse mem;
    int64_t fail_in;
    Spare *spares[BUCKETS];
    Buf scratch, flood; /* flood: what dev_flush writes */
    double counted_flops;
    const Watch *watch; /* NULL: nobody */
};

static const Backend *find_backend(const char *name)
{
    for (const Backend *const *b = backend_table; *b != NULL; b++)
        if (strcmp((*b)->name, name) == 0)
            return *b;
    return NULL;
}

/* Of a backend without a choice. */
static const char *own_math(const Backend *b)
{
    return b->real == sizeof(double) ? "f64" : "f32";
}

/* The dry device stands for all others. */
static Status check_math(const Backend *b, const char *math)
{
    if (math == NULL || b->math != NULL || b->dry || strcmp(math, own_math(b)) == 0)
        return ST_OK;
    return FAIL(ST_USAGE, "backend '%s' computes in %s, not in '%s'", b->name, own_math(b), math);
}

Status dev_open(Dev **out, const char *backend, int index, size_t mem_limit)
{
    return dev_open_as(out, &(DevSpec){backend, index, NULL, mem_limit});
}

Status dev_open_as(Dev **out, const DevSpec *s)
{
    Status st = ST_OK;
    const Backend *b = find_backend(s->backend);
    *out = NULL;
    if (b == NULL)
        TRY(plugin_open(s->backend, &b));
    TRY(check_math(b, s->math));
    Dev *d = calloc(1, sizeof *d);
    if (d == NULL)
        return FAIL(ST_OOM, "no memory for a device");
    d->backend = b;
    d->limit = s->mem_limit;
    d->kernels = b->open(s->index, s->math, &d->ctx, &st);
    if (d->kernels == NULL) {
        free(d);
        return st;
    }
    *out = d;
    return ST_OK;
}

void dev_limit(Dev *d, size_t mem_limit)
{
    d->limit = mem_limit;
}

static size_t rounded(size_t size)
{
    size_t unit = size < 4096 ? 64 : 4096;
    return (size + unit - 1) / unit * unit;
}

static Spare **bucket(Dev *d, size_t size)
{
    return &d->spares[(size / 64 * 2654435761u >> 7) % BUCKETS];
}

static void *take_spare(Dev *d, size_t size)
{
    for (Spare **at = bucket(d, size); *at != NULL; at = &(*at)->next) {
        Spare *s = *at;
        if (s->size != size)
            continue;
        void *ptr = s->ptr;
        *at = s->next;
        free(s);
        d->spare_bytes -= size;
        return ptr;
    }
    return NULL;
}

static void trim_spares(Dev *d)
{
    for (int i = 0; i < BUCKETS; i++)
        while (d->spares[i] != NULL) {
            Spare *s = d->spares[i];
            d->spares[i] = s->next;
            d->backend->free(d->ctx, s->ptr, s->size);
            free(s);
        }
    d->spare_bytes = 0;
}

void dev_close(Dev *d)
{
    if (d == NULL)
        return;
    dev_free(d, &d->scratch);
    dev_free(d, &d->flood);
    trim_spares(d);
    for (int i = 0; i < MEM_TAGS; i++)
        CHECK(d->mem.live[i] == 0);
    d->backend->close(d->ctx);
    free(d);
}

const char *dev_name(const Dev *d)
{
    return d->backend->name;
}
const Backend *dev_backend(const Dev *d)
{
    return d->backend;
}
const char *dev_math(const Dev *d)
{
    return d->backend->math != NULL ? d->backend->math(d->ctx) : own_math(d->backend);
}
const Kernels *dev_kernels(const Dev *d)
{
    return d->kernels;
}
size_t dev_real(const Dev *d)
{
    return d->backend->real;
}
bool dev_is_dry(const Dev *d)
{
    return d->backend->dry;
}
/* ---- watching ---- */
void dev_watch(Dev *d, const Watch *w)
{
    d->watch = w;
}
bool dev_is_watched(const Dev *d)
{
    return d->watch != NULL;
}
void watch_enter(const Dev *d, const char *what, bool backward)
{
    if (d->watch != NULL)
        d->watch->enter(d->watch->ctx, what, backward);
}
void watch_leave(const Dev *d, double flops, double bytes)
{
    if (d->watch != NULL)
        d->watch->leave(d->watch->ctx, flops, bytes);
}

double dev_counted_flops(const Dev *d)
{
    return d->counted_flops;
}
void dev_count_flops(Dev *d, double flops)
{
    d->counted_flops += flops;
}
void *dev_context(const Dev *d)
{
    return d->ctx;
}
MemUse dev_mem(const Dev *d)
{
    return d->mem;
}
void dev_fail_alloc(Dev *d, int64_t n)
{
    d->fail_in = n;
}

void dev_mem_reset_peak(Dev *d)
{
    memcpy(d->mem.peak, d->mem.live, sizeof d->mem.peak);
    d->mem.peak_counted = d->mem.live_counted;
    if (d->backend->reset_peak != NULL)
        d->backend->reset_peak(d->ctx);
}

static size_t live_bytes(const Dev *d)
{
    size_t sum = 0;
    for (int i = 0; i < MEM_TAGS; i++)
        sum += d->mem.live[i];
    return sum;
}

static void *backend_alloc(Dev *d, size_t size)
{
    void *ptr = take_spare(d, size);
    if (ptr != NULL)
        return ptr;
    if (d->limit > 0 && live_bytes(d) + d->spare_bytes + size > d->limit)
        trim_spares(d);
    d->mem.n_backend++;
    ptr = d->backend->alloc(d->ctx, size);
    if (ptr == NULL && d->spare_bytes > 0) {
        trim_spares(d);
        ptr = d->backend->alloc(d->ctx, size);
    }
    return ptr;
}

static void count(MemUse *m, MemTag tag, size_t size)
{
    m->n_allocs++;
    m->live[tag] += size;
    if (m->live[tag] > m->peak[tag])
        m->peak[tag] = m->live[tag];
    if (tag == MEM_WORK)
        return;
    m->live_counted += size;
    if (m->live_counted > m->peak_counted)
        m->peak_counted = m->live_counted;
}

static Status allocate(Dev *d, size_t size, MemTag tag, Buf *out)
{
    CHECK(size > 0 && tag < MEM_TAGS);
    if (d->fail_in > 0 && --d->fail_in == 0)
        return FAIL(ST_OOM, "allocation of %zu bytes failed on request", size);
    size_t live = live_bytes(d);
    if (d->limit > 0 && (size > d->limit || live > d->limit - size))
        return FAIL(ST_OOM, "%.3f GiB of %s would pass the memory limit of %.3f GiB (%.3f in use)",
                    (double)size / 0x1p30, mem_tag_names[tag], (double)d->limit / 0x1p30,
                    (double)live / 0x1p30);
    void *ptr = size <= PTRDIFF_MAX ? backend_alloc(d, rounded(size)) : NULL; /* no overflow */
    if (ptr == NULL)
        return FAIL(ST_OOM, "the %s backend has no room for %.3f GiB of %s", d->backend->name,
                    (double)size / 0x1p30, mem_tag_names[tag]);
    count(&d->mem, tag, size);
    *out = (Buf){ptr, size, tag};
    return ST_OK;
}

Status dev_alloc(Dev *d, size_t size, MemTag tag, Buf *out)
{
    *out = (Buf){0};
    watch_enter(d, "allocation", false);
    Status st = allocate(d, size, tag, out);
    watch_leave(d, 0, 0);
    return st;
}

static void give_back(Dev *d, Buf *b)
{
    CHECK(d->mem.live[b->tag] >= b->size);
    d->mem.live[b->tag] -= b->size;
    if (b->tag != MEM_WORK)
        d->mem.live_counted -= b->size;
    size_t size = rounded(b->size);
    Spare *s = malloc(sizeof *s);
    if (s == NULL) {
        d->backend->free(d->ctx, b->ptr, size);
    } else {
        Spare **head = bucket(d, size);
        *s = (Spare){size, b->ptr, *head};
        *head = s;
        d->spare_bytes += size;
    }
    *b = (Buf){0};
}

void dev_free(Dev *d, Buf *b)
{
    if (b->ptr == NULL)
        return;
    watch_enter(d, "allocation", false);
    give_back(d, b);
    watch_leave(d, 0, 0);
}

Status dev_scratch(Dev *d, size_t size, void **out)
{
    if (d->scratch.size < size) {
        dev_free(d, &d->scratch);
        TRY(dev_alloc(d, size + size / 8, MEM_WORK, &d->scratch));
    }
    *out = d->scratch.ptr;
    return ST_OK;
}

bool dev_flushes(const Dev *d)
{
    DevAbout a;
    dev_about(d, &a);
    return a.cache > 0;
}

/* Twice the cache: lines may be replaced at random. */
Status dev_flush(Dev *d, int64_t *bytes)
{
    DevAbout a;
    if (d->flood.ptr == NULL) {
        dev_about(d, &a);
        TRY(dev_alloc(d, 2 * (size_t)max64(a.cache, sizeof(double)), MEM_WORK, &d->flood));
    }
    if (bytes != NULL)
        *bytes = (int64_t)d->flood.size;
    return d->kernels->fill(d, (int64_t)(d->flood.size / dev_real(d)), 0.0, d->flood.ptr);
}

Status dev_write(Dev *d, Buf dst, const void *src, size_t size)
{
    CHECK(size <= dst.size);
    return d->backend->copy(d->ctx, dst.ptr, src, size);
}

Status dev_read(Dev *d, void *dst, Buf src, size_t size)
{
    CHECK(size <= src.size);
    return d->backend->copy(d->ctx, dst, src.ptr, size);
}

Status dev_copy(Dev *d, Buf dst, Buf src, size_t size)
{
    CHECK(size <= src.size && size <= dst.size);
    return d->backend->copy(d->ctx, dst.ptr, src.ptr, size);
}

Status dev_sync(Dev *d)
{
    return d->backend->sync(d->ctx);
}

/* ---- conversion between the host's reals and the device's, in pieces that fit a small buffer ----
 */
enum { PIECE = 1024 };

static Status write_reals(Dev *d, Buf dst, int64_t at, const float *f32, const double *f64,
                          int64_t n)
{
    double wide[PIECE];
    float narrow[PIECE];
    size_t real = dev_real(d);
    CHECK(at >= 0 && (size_t)(at + n) * real <= dst.size);
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t m = min64(n - i, PIECE);
        for (int64_t j = 0; j < m; j++) {
            wide[j] = f64 != NULL ? f64[i + j] : (double)f32[i + j];
            narrow[j] = (float)wide[j];
        }
        TRY(d->backend->copy(d->ctx, (char *)dst.ptr + (size_t)(at + i) * real,
                             real == 8 ? (const void *)wide : narrow, (size_t)m * real));
    }
    return ST_OK;
}

Status dev_write_f32(Dev *d, Buf dst, int64_t at, const float *src, int64_t n)
{
    if (dev_real(d) == sizeof(float)) {
        CHECK(at >= 0 && (size_t)(at + n) * sizeof(float) <= dst.size);
        return d->backend->copy(d->ctx, (float *)dst.ptr + at, src, (size_t)n * sizeof(float));
    }
    return write_reals(d, dst, at, src, NULL, n);
}

Status dev_write_f64(Dev *d, Buf dst, int64_t at, const double *src, int64_t n)
{
    return write_reals(d, dst, at, NULL, src, n);
}

Status dev_read_f64(Dev *d, double *dst, Buf src, int64_t at, int64_t n)
{
    float narrow[PIECE];
    size_t real = dev_real(d);
    CHECK(at >= 0 && (size_t)(at + n) * real <= src.size);
    const char *from = (const char *)src.ptr + (size_t)at * real;
    if (real == sizeof(double))
        return d->backend->copy(d->ctx, dst, from, (size_t)n * real);
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t m = min64(n - i, PIECE);
        TRY(d->backend->copy(d->ctx, narrow, from + (size_t)i * real, (size_t)m * real));
        for (int64_t j = 0; j < m; j++)
            dst[i + j] = (double)narrow[j];
    }
    return ST_OK;
}
