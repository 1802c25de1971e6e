/* staging.cu - copies between host and device through pinned memory.
 *
 * Host to device: the bytes are put into one of two pinned pieces and the copy is queued; the call
 * returns as soon as the source may be changed, without waiting for the stream. A piece is used
 * again when the mark behind its last copy has passed. Device to host: waits. Bytes moved: each
 * byte once over the bus and twice through host memory; above the size of a piece the copies of the
 * two pieces overlap with the filling. */
#include "kernels/cuda/cuda.cuh"

#include <stdlib.h>
#include <string.h>

enum { PIECES = 2 };
static const size_t PIECE_BYTES = (size_t)1 << 20;

struct Staging {
    void *piece[PIECES];
    cudaEvent_t done[PIECES];
    int next;
};

Status staging_open(Cuda *c)
{
    c->staging = (Staging *)calloc(1, sizeof *c->staging);
    if (c->staging == NULL)
        return FAIL(ST_OOM, "no memory for staging");
    for (int i = 0; i < PIECES; i++) {
        TRY(cuda_check(c, cudaMallocHost(&c->staging->piece[i], PIECE_BYTES), "pinned memory"));
        TRY(cuda_check(c, cudaEventCreateWithFlags(&c->staging->done[i], cudaEventDisableTiming),
                       "pinned memory"));
    }
    return ST_OK;
}

void staging_close(Cuda *c)
{
    for (int i = 0; c->staging != NULL && i < PIECES; i++) {
        if (c->staging->done[i] != NULL)
            (void)cudaEventDestroy(c->staging->done[i]);
        if (c->staging->piece[i] != NULL)
            (void)cudaFreeHost(c->staging->piece[i]);
    }
    free(c->staging);
}

static Status to_device(Cuda *c, char *dst, const char *src, size_t size)
{
    Staging *s = c->staging;
    for (size_t at = 0; at < size; at += PIECE_BYTES) {
        size_t n = size - at < PIECE_BYTES ? size - at : PIECE_BYTES;
        int i = s->next;
        s->next = (i + 1) % PIECES;
        TRY(cuda_check(c, cudaEventSynchronize(s->done[i]), "waiting for a copy to the device"));
        memcpy(s->piece[i], src + at, n);
        TRY(cuda_check(c,
                       cudaMemcpyAsync(dst + at, s->piece[i], n, cudaMemcpyHostToDevice, c->stream),
                       "a copy to the device"));
        TRY(cuda_check(c, cudaEventRecord(s->done[i], c->stream), "a copy to the device"));
    }
    return ST_OK;
}

/* The copies to the device that still use the piece are before this one on the stream. */
static Status to_host(Cuda *c, char *dst, const char *src, size_t size)
{
    void *piece = c->staging->piece[0];
    for (size_t at = 0; at < size; at += PIECE_BYTES) {
        size_t n = size - at < PIECE_BYTES ? size - at : PIECE_BYTES;
        TRY(cuda_check(c, cudaMemcpyAsync(piece, src + at, n, cudaMemcpyDeviceToHost, c->stream),
                       "a copy to the host"));
        TRY(cuda_wait(c));
        memcpy(dst + at, piece, n);
    }
    return ST_OK;
}

static bool on_device(const void *p)
{
    cudaPointerAttributes a;
    return cudaPointerGetAttributes(&a, p) == cudaSuccess && a.type == cudaMemoryTypeDevice;
}

Status staging_copy(Cuda *c, void *dst, const void *src, size_t size)
{
    bool to = on_device(dst), from = on_device(src);
    if (to && from)
        return cuda_check(c, cudaMemcpyAsync(dst, src, size, cudaMemcpyDeviceToDevice, c->stream),
                          "a copy on the device");
    return to ? to_device(c, (char *)dst, (const char *)src, size)
              : to_host(c, (char *)dst, (const char *)src, size);
}
