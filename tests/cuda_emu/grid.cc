/* grid.cc - blocks and grids: stacks, shared memory, one block after another. */
#include "tests/cuda_emu/block.h"

#include <pthread.h>
#include <sys/mman.h>

namespace emu
{
static const size_t SHARED_ROOM = 256 << 10;
static Set sets[2];
Set *set = &sets[0];
[[maybe_unused]] static uint64_t grid_key;

NO_SANITIZER static void fiber_main()
{
#if EMU_ASAN
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    TSAN(__tsan_acquire(&set->begin_key));
    TSAN(__tsan_acquire(&set->end_key[(set->n_blocks + 1) % 2])); /* of this set's last block */
    (*block.body)();
    TSAN(__tsan_release(&set->end_key[set->n_blocks % 2]));
    TSAN(__tsan_release(&grid_key));
    block.now->is = Is::DONE;
    block.live--;
    try_release();
    next(true);
    __builtin_unreachable();
}

static void take_stacks()
{
    if (set->stacks != nullptr)
        return;
    set->stacks = (char *)mmap(nullptr, (size_t)MAX_THREADS * STACK, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    set->shared = (unsigned char *)mmap(nullptr, SHARED_ROOM, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (int i = 0; i < MAX_THREADS; i++) /* a guard page under each */
        mprotect(set->stacks + (size_t)i * STACK, PAGE, PROT_NONE);
}

/* Not memset, which a sanitizer would take for an access of the host's. */
static void paint(unsigned char *p, int byte, size_t n)
{
    asm volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(byte) : "memory");
}

static void set_up(Thread *t, int i)
{
    unsigned u = (unsigned)i;
    t->number = i;
    t->round = 0;
    t->stack = set->stacks + (size_t)i * STACK;
    t->idx = {u % blockDim.x, u / blockDim.x % blockDim.y, u / (blockDim.x * blockDim.y)};
    t->n_copies = t->n_groups = 0;
    TSAN(set->tsan[i] = set->tsan[i] != nullptr ? set->tsan[i] : __tsan_create_fiber(0));
    TSAN(t->tsan = set->tsan[i]);
    ASAN_UNPOISON_MEMORY_REGION(t->stack + PAGE, STACK - PAGE);
    void **sp = (void **)(t->stack + STACK);
    *--sp = nullptr;
    *--sp = (void *)fiber_main;
    for (int k = 0; k < 6; k++)
        *--sp = nullptr;
    t->sp = sp;
    make_ready(t);
}

static cudaError_t run_block()
{
    block.threads.resize((size_t)block.n);
    block.live = block.n;
    block.arrived = 0;
    block.first = block.n_ready = 0;
    for (int i = 0; i < block.n; i++)
        set_up(&block.threads[(size_t)i], i);
    block.now = &block.host;
    TSAN(block.host.tsan = __tsan_get_current_fiber());
    TSAN(__tsan_release(&set->begin_key));
    next(false);
    for (Thread &t : block.threads) {
        if (!block.failed && t.n_copies > 0)
            fault("thread %d ended with asynchronous copies that nobody waited for", t.number);
    }
    return block.failed ? cudaErrorLaunchFailure : cudaSuccess;
}

static void find_host_stack()
{
#if EMU_ASAN
    pthread_attr_t a;
    pthread_getattr_np(pthread_self(), &a);
    pthread_attr_getstack(&a, &host_stack, &host_stack_size);
    pthread_attr_destroy(&a);
#endif
}

/* Block number i of those that run. Shared memory begins as NaN; what lies behind it belongs to
 * nobody. */
static cudaError_t run_one(size_t i, dim3 grid, size_t shared)
{
    const size_t room = (shared + 127) / 128 * 128 + 128;
    TSAN(set = &sets[i % 2]);
    set->n_blocks++;
    take_stacks();
    blockIdx = {(unsigned)(i % grid.x), (unsigned)(i / grid.x % grid.y),
                (unsigned)(i / ((size_t)grid.x * grid.y))};
    block.shared = set->shared;
    paint(block.shared, 0xff, shared);
    paint(block.shared + shared, 0xA5, room - shared);
    ASAN_POISON_MEMORY_REGION(block.shared + shared, room - shared);
    cudaError_t e = run_block();
    ASAN_UNPOISON_MEMORY_REGION(block.shared, room);
    for (size_t k = shared; k < room && e == cudaSuccess; k++)
        if (block.shared[k] != 0xA5) {
            fault("byte %zu of %zu bytes of shared memory was written", k, shared);
            e = cudaErrorLaunchFailure;
        }
    return e;
}

cudaError_t run_grid(dim3 grid, dim3 threads, size_t shared, const std::function<void()> &body)
{
    const size_t blocks = (size_t)grid.x * grid.y * grid.z;
    const size_t turn = config().order >= 2 ? random_bits() % blocks : 0;
    cudaError_t e = sticky;
    Reach reach;
    find_host_stack();
    gridDim = grid;
    blockDim = threads;
    block.n = (int)(threads.x * threads.y * threads.z);
    block.body = &body;
    block.failed = false;
    for (size_t i = 0; i < blocks && e == cudaSuccess; i++)
        e = run_one(config().order == 1 ? blocks - 1 - i : (i + turn) % blocks, grid, shared);
    TSAN(__tsan_acquire(&grid_key));
    block.now = nullptr;
    return e;
}
} // namespace emu
