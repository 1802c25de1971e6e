/* base.h - status codes, checks and small helpers shared by every folder. Host only, no device. */
#ifndef LONGMIX_BASE_H
#define LONGMIX_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a call can report. Anything but ST_OK may end up as a row of results, with its reason. */
typedef enum Status {
    ST_OK = 0,
    ST_SHAPE,       /* operands do not fit together */
    ST_UNSUPPORTED, /* this device, dtype or shape is not implemented */
    ST_OOM,         /* the device has no room: an expected outcome of a long-context case */
    ST_NONFINITE,   /* a loss or output is NaN or infinite */
    ST_DEVICE,      /* the driver reported an error */
    ST_IO,          /* a file could not be read or written */
    ST_USAGE        /* bad command line or bad input file: one line on stderr, exit 2 */
} Status;

/* Records the reason (per thread, the last one wins) and returns st. Use through FAIL. */
Status status_set(Status st, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The reason given with the last FAIL of this thread; "" if there was none. */
const char *status_reason(void);
const char *status_name(Status st); /* "ok", "shape", ... */

#define FAIL(...) status_set(__VA_ARGS__) /* FAIL(ST_SHAPE, "chunk %d ...", c) */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        Status try_st_ = (call);                                                                   \
        if (try_st_ != ST_OK)                                                                      \
            return try_st_;                                                                        \
    } while (0)

/* A broken promise between two functions of ours: prints and aborts. Stays on in release builds. */
#define CHECK(cond) ((cond) ? (void)0 : check_failed(#cond, __FILE__, __LINE__))
void check_failed(const char *cond, const char *file, int line) __attribute__((noreturn));

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static inline int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

#ifdef __cplusplus
}
#endif
#endif
