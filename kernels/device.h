/* device.h - one compute device: memory, clock, random numbers, and the kernels it brings.
 *
 * All work is queued on the device's one stream and may still be running when a call returns; only
 * dev_sync, dev_read and timer_stop wait for it (the host backends do everything at once).
 * Backends: "ref" (float64, naive loops, the definition), "dry" (counts memory and work, computes
 * nothing), "cpu" (float32, tiled, threaded), "cuda" (a plugin opened with dlopen). */
#ifndef LONGMIX_DEVICE_H
#define LONGMIX_DEVICE_H

#include "kernels/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Dev Dev;         /* an open device */
typedef struct Timer Timer;     /* a pair of marks on the stream */
typedef struct Kernels Kernels; /* kernels.h: the table of raw kernels of a backend */
typedef struct Backend Backend; /* below */

/* What memory is for. The first five are the same on every backend for the same case. */
typedef enum MemTag {
    MEM_PARAM, /* weights */
    MEM_GRAD,  /* gradients of weights */
    MEM_OPTIM, /* optimiser moments */
    MEM_ACT,   /* activations and their gradients */
    MEM_STATE, /* carried state: caches, running sums */
    MEM_INPUT, /* inputs the harness feeds: tokens, random activations, rotation copies */
    MEM_WORK,  /* scratch of kernels: the backend's own business, reported beside the others */
    MEM_TAGS
} MemTag;
extern const char *const mem_tag_names[MEM_TAGS];

/* Device memory. Plain value; whoever got it from dev_alloc frees it. */
typedef struct Buf {
    void *ptr; /* address on the device; the host may follow it on "ref" and "cpu" only */
    size_t size;
    MemTag tag;
} Buf;

/* Bytes asked for through dev_alloc, before any rounding. peak[i] is the peak of tag i alone;
 * peak_counted is the peak of the sum of all tags but MEM_WORK. */
typedef struct MemUse {
    size_t live[MEM_TAGS], peak[MEM_TAGS];
    size_t live_counted, peak_counted;
    int64_t n_allocs;  /* calls of dev_alloc */
    int64_t n_backend; /* of which the backend was asked (the rest came from the free lists) */
} MemUse;

/* Which device. math: how products are computed, "f32", "tf32" or "bf16"; storage and sums are the
 * backend's reals whatever it is. NULL: as the backend does it by itself. */
typedef struct DevSpec {
    const char *backend; /* a name from the list above */
    int index;           /* which GPU; 0 elsewhere */
    const char *math;
    size_t mem_limit; /* bytes, 0 for none */
} DevSpec;

/* ST_USAGE for a name, an index or a math that the backend does not have; ST_DEVICE with the reason
 * where the backend cannot be had here. */
Status dev_open_as(Dev **out, const DevSpec *s);
Status dev_open(Dev **out, const char *backend, int index, size_t mem_limit); /* its own math */
void dev_limit(Dev *d, size_t mem_limit);                                     /* from now on */
void dev_close(Dev *d); /* CHECKs that nothing is still allocated; NULL is fine */
const char *dev_name(const Dev *d);
const Backend *dev_backend(const Dev *d);
const Kernels *dev_kernels(const Dev *d);
size_t dev_real(const Dev *d);      /* bytes of one real number: 8 on ref, else 4 */
const char *dev_math(const Dev *d); /* "f64" on ref, else "f32", or what a GPU was opened with */
bool dev_is_dry(const Dev *d);      /* nothing is computed: do not look at values */

/* Memory. dev_alloc leaves *out zero on failure. Freed blocks are kept on free lists by size, so a
 * step allocates nothing from the system after the first one. */
Status dev_alloc(Dev *d, size_t size, MemTag tag, Buf *out);
void dev_free(Dev *d, Buf *b); /* a zero Buf is fine; *b becomes zero */
/* Scratch that stays until the next dev_scratch or dev_close; grows, never shrinks. For kernels. */
Status dev_scratch(Dev *d, size_t size, void **out);
MemUse dev_mem(const Dev *d);
void dev_mem_reset_peak(Dev *d);
/* Tests: the n-th dev_alloc from now fails with ST_OOM (0: never). */
void dev_fail_alloc(Dev *d, int64_t n);

Status dev_write(Dev *d, Buf dst, const void *src, size_t size); /* host -> device, waits */
Status dev_read(Dev *d, void *dst, Buf src, size_t size);        /* device -> host, waits */
Status dev_copy(Dev *d, Buf dst, Buf src, size_t size);          /* device -> device */
Status dev_sync(Dev *d);

/* Reals as the host sees them, whatever the device stores: n elements from element `at`. */
Status dev_write_f32(Dev *d, Buf dst, int64_t at, const float *src, int64_t n);
Status dev_write_f64(Dev *d, Buf dst, int64_t at, const double *src, int64_t n);
Status dev_read_f64(Dev *d, double *dst, Buf src, int64_t at, int64_t n);

Status timer_new(Dev *d, Timer **out);
void timer_free(Timer *t); /* NULL is fine */
Status timer_start(Timer *t);
Status timer_stop(Timer *t, double *seconds); /* waits for the second mark */

/* Someone who wants to know where the time goes is told when a piece of work begins and ends;
 * pieces may nest. backward: of an op. Nobody, as at first, costs a look at a pointer. */
typedef struct Watch {
    void *ctx;
    void (*enter)(void *ctx, const char *what, bool backward);
    void (*leave)(void *ctx, double flops, double bytes);
} Watch;
void dev_watch(Dev *d, const Watch *w); /* borrowed; NULL: nobody */
bool dev_is_watched(const Dev *d);
void watch_enter(const Dev *d, const char *what, bool backward);
void watch_leave(const Dev *d, double flops, double bytes);

/* Work done by the ref backend, counted by its loops as they run: multiply-adds times two. */
double dev_counted_flops(const Dev *d);
void dev_count_flops(Dev *d, double flops);

void *dev_context(const Dev *d); /* the backend's own: for its kernels */

/* What a GPU is and how it does at the moment; 0 and "" where that cannot be told, all of it on the
 * host's backends. */
typedef struct DevAbout {
    char name[64], driver[16], ecc[8]; /* driver: CUDA's version; ecc: "on" or "off" */
    int64_t memory, free, cache;       /* bytes: all, free now, of the last-level cache */
    int clock, memory_clock;           /* MHz, now */
    int64_t pool_peak; /* bytes that the driver gave at most since dev_mem_reset_peak */
} DevAbout;
void dev_about(const Dev *d, DevAbout *out);
/* The same as text: "NAME, sm_90 bf16, ..."; "" where there is nothing to tell. */
void dev_describe(const Dev *d, char *text, size_t size);

/* Why the clocks are lowered right now: bits, 0 where they are not or nobody knows. */
enum { STRAIN_POWER = 1, STRAIN_HEAT = 2, STRAIN_HARDWARE = 4, STRAIN_OTHER = 8 };
unsigned dev_strain(const Dev *d);
/* "power heat"; "" for 0. */
void strain_words(unsigned strain, char *text, size_t size);

/* Writes more than the device's cache holds, on its stream, so that nothing of a case is left in
 * it. flushes: is there such a cache? *bytes (or NULL): so many were written. */
bool dev_flushes(const Dev *d);
Status dev_flush(Dev *d, int64_t *bytes);

/* What a backend implements; dev_* above add accounting, argument checks and error text, once. */
struct Backend {
    const char *name;
    size_t real; /* bytes of one real number */
    bool dry;
    /* NULL and *st on failure. math: NULL unless the backend has a choice, and maybe then. */
    const Kernels *(*open)(int index, const char *math, void **ctx, Status *st);
    void (*close)(void *ctx);
    void *(*alloc)(void *ctx, size_t size); /* NULL: out of memory */
    void (*free)(void *ctx, void *ptr, size_t size);
    Status (*copy)(void *ctx, void *dst, const void *src,
                   size_t size); /* either side may be host */
    Status (*sync)(void *ctx);
    double (*now)(void *ctx); /* seconds, after all queued work */
    /* The rest may be NULL. Marks on the stream: timers then do not stop it at the start. */
    void *(*mark_new)(void *ctx); /* NULL: out of memory */
    void (*mark_free)(void *ctx, void *mark);
    Status (*mark)(void *ctx, void *mark);
    Status (*between)(void *ctx, void *from, void *to, double *seconds); /* waits for `to` */
    const char *(*math)(void *ctx); /* of a backend that has a choice */
    void (*about)(void *ctx, DevAbout *out);
    void (*reset_peak)(void *ctx); /* of DevAbout */
    unsigned (*strain)(void *ctx);
};

/* The backends built in, ending in NULL. A plugin's table is added by dev_open. */
extern const Backend *const backend_table[];

#ifdef __cplusplus
}
#endif
#endif
