/* fibers.cc - threads of a block as fibers: schedules, barriers, warp collectives, launches. */
#include "tests/cuda_emu/emu.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <pthread.h>
#include <string>
#include <sys/mman.h>
#include <vector>

#define NO_SANITIZER __attribute__((no_sanitize("address", "undefined")))

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

/* Saves the registers that calls keep, changes stacks, and takes the other's. */
extern "C" void emu_swap(void **save, void *load);
asm(".text\n"
    ".type emu_swap,@function\n"
    "emu_swap:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp,(%rdi)\n  movq %rsi,%rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size emu_swap,.-emu_swap\n");

namespace emu
{
cudaError_t sticky = cudaSuccess;

enum class Is : uint8_t { READY, AT_BARRIER, AT_COLLECTIVE, DONE };

enum { MAX_THREADS = 1024, MAX_COPIES = 512, STACK = 64 << 10, PAGE = 4096 };
static const size_t SHARED_DEFAULT = 48 << 10, SHARED_MOST = 232448, SHARED_ROOM = 256 << 10;

struct AsyncCopy {
    void *to;
    const void *from;
    int bytes, valid;
};

struct Thread {
    void *sp;
    uint3 idx;
    int number;
    Is is;
    const char *file; /* where it waits */
    int line;
    int op;
    unsigned mask;
    void *deposit;
    char *stack;
    void *fake_stack, *tsan;
    unsigned round;                                /* of the warp's fences */
    int n_copies, n_groups, group_end[MAX_COPIES]; /* copies that were not waited for, in groups */
};

/* The block that runs. */
static struct Block {
    Thread *now, host;
    std::vector<Thread> threads;
    int n, live, arrived;
    unsigned round;
    int ready[MAX_THREADS]; /* a ring of those that can run */
    unsigned first, n_ready;
    const std::function<void()> *body;
    unsigned char *shared;
    bool failed;
} block;

/* What threads of a block use up. Under the thread sanitizer, neighbouring blocks use different
 * sets, and nothing orders them: so it sees two blocks that write to one place. Blocks of the same
 * set are ordered, since they use the same fibers, stacks and shared memory. */
static struct Set {
    char *stacks;
    unsigned char *shared;
    void *tsan[MAX_THREADS];
    uint64_t begin_key, end_key[2], n_blocks, barrier_key[2], warp_key[MAX_THREADS / 32][2];
} sets[2], *set = &sets[0];

[[maybe_unused]] static uint64_t grid_key;
static uint64_t random_state;
[[maybe_unused]] static void *host_stack;
[[maybe_unused]] static size_t host_stack_size;

static int setting(const char *name, int otherwise)
{
    const char *s = getenv(name);
    return s != nullptr ? atoi(s) : otherwise;
}

const Config &config()
{
    static const Config c = {setting("EMU_ORDER", 0), setting("EMU_LAZY", 0),
                             setting("EMU_GUARD", 0), setting("EMU_SMS", 4)};
    return c;
}

uint64_t random_bits()
{
    if (random_state == 0)
        random_state = 0x9E3779B97F4A7C15ull + 0x1234567ull * (unsigned)config().order;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

void *dyn_shared()
{
    return block.shared;
}
int lane()
{
    return block.now->number & 31;
}

/* ---- who runs next ---- */
NO_SANITIZER static void switch_to(Thread *to, bool dying = false)
{
    Thread *from = block.now;
    (void)dying;
    block.now = to;
    threadIdx = to->idx;
    if (from == to)
        return;
#if EMU_ASAN
    bool host = to == &block.host;
    __sanitizer_start_switch_fiber(dying ? nullptr : &from->fake_stack,
                                   host ? host_stack : to->stack,
                                   host ? host_stack_size : (size_t)STACK);
#endif
    TSAN(__tsan_switch_to_fiber(to->tsan, 1 /* without ordering the two */));
    emu_swap(&from->sp, to->sp);
#if EMU_ASAN
    __sanitizer_finish_switch_fiber(block.now->fake_stack, nullptr, nullptr);
#endif
}

NO_SANITIZER static void make_ready(Thread *t)
{
    t->is = Is::READY;
    block.ready[(block.first + block.n_ready++) % MAX_THREADS] = t->number;
}

NO_SANITIZER static unsigned warp_rank(int number)
{
    unsigned key = (unsigned)(number / 32 + 1) * 2654435761u * (unsigned)config().order;
    return key ^ key >> 15;
}

NO_SANITIZER static unsigned pick()
{
    const int order = config().order;
    if (order == 0)
        return 0;
    if (order == 1)
        return block.n_ready - 1;
    if (order % 2 == 0)
        return (unsigned)(random_bits() % block.n_ready);
    unsigned best = 0;
    for (unsigned i = 1; i < block.n_ready; i++)
        if (warp_rank(block.ready[(block.first + i) % MAX_THREADS]) <
            warp_rank(block.ready[(block.first + best) % MAX_THREADS]))
            best = i;
    return best;
}

static void report_stuck()
{
    int barriers = 0, collectives = 0;
    const Thread *b = nullptr, *c = nullptr;
    for (const Thread &t : block.threads) {
        if (t.is == Is::AT_BARRIER)
            barriers++, b = &t;
        if (t.is == Is::AT_COLLECTIVE)
            collectives++, c = &t;
    }
    fault("deadlock: %d threads at __syncthreads (%s:%d), %d at a warp collective (%s:%d, mask "
          "%08x), %d have ended",
          barriers, b ? b->file : "-", b ? b->line : 0, collectives, c ? c->file : "-",
          c ? c->line : 0, c ? c->mask : 0, block.n - block.live);
}

NO_SANITIZER static void next(bool dying)
{
    if (!block.failed && block.n_ready == 0 && block.live > 0)
        report_stuck();
    if (block.failed || block.n_ready == 0) {
        switch_to(&block.host, dying);
        return;
    }
    unsigned i = pick();
    int number = block.ready[(block.first + i) % MAX_THREADS];
    block.ready[(block.first + i) % MAX_THREADS] = block.ready[block.first % MAX_THREADS];
    block.first = (block.first + 1) % MAX_THREADS;
    block.n_ready--;
    switch_to(&block.threads[(size_t)number], dying);
}

void fault(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "cuda_emu: block (%u,%u,%u) thread %d: %s\n", blockIdx.x, blockIdx.y,
            blockIdx.z, block.now ? block.now->number : -1, text);
    block.failed = true;
    sticky = cudaErrorLaunchFailure;
    if (block.now != nullptr && block.now != &block.host)
        switch_to(&block.host);
}

/* ---- barriers: threads that have ended do not count (as from sm_70 on) ---- */
static void try_release()
{
    const Thread *first = nullptr;
    if (block.arrived == 0 || block.arrived < block.live)
        return;
    for (const Thread &t : block.threads) {
        if (t.is != Is::AT_BARRIER)
            continue;
        first = first != nullptr ? first : &t;
        if (t.line != first->line || strcmp(t.file, first->file) != 0) {
            fault("divergent __syncthreads: thread %d at %s:%d, thread %d at %s:%d", first->number,
                  first->file, first->line, t.number, t.file, t.line);
            return;
        }
    }
    block.arrived = 0;
    block.round++;
    for (Thread &t : block.threads)
        if (t.is == Is::AT_BARRIER)
            make_ready(&t);
}

NO_SANITIZER void barrier(const char *file, int line)
{
    Thread *me = block.now;
    [[maybe_unused]] unsigned round = block.round & 1;
    me->file = file;
    me->line = line;
    me->is = Is::AT_BARRIER;
    block.arrived++;
    TSAN(__tsan_release(&set->barrier_key[round]));
    try_release();
    next(false);
    TSAN(__tsan_acquire(&set->barrier_key[round]));
}

/* ---- warp collectives ---- */
static bool all_there(Thread *me, int warp, unsigned mask, void **deposit)
{
    bool all = true;
    for (int i = 0; i < 32 && warp + i < block.n; i++) {
        if (!(mask >> i & 1))
            continue;
        Thread *t = &block.threads[(size_t)(warp + i)];
        if (t->is == Is::DONE)
            fault("%s:%d: mask %08x names lane %d, which has ended", me->file, me->line, mask, i);
        if (t->is != Is::AT_COLLECTIVE)
            all = false;
        else if (t->op != me->op || t->mask != me->mask)
            fault("divergent warp collective: lane %d at %s:%d mask %08x, lane %d at %s:%d mask "
                  "%08x",
                  me->number & 31, me->file, me->line, mask, i, t->file, t->line, t->mask);
        deposit[i] = t->deposit;
    }
    return all;
}

/* Only __syncwarp orders memory; shuffles and mma do not. */
NO_SANITIZER void collective(unsigned mask, int op, void *deposit, Finish finish, void *arg,
                             const char *file, int line)
{
    Thread *me = block.now;
    const int warp = me->number & ~31, in_warp = std::min(32, block.n - warp);
    const unsigned full = in_warp == 32 ? ~0u : (1u << in_warp) - 1;
    if (in_warp < 32 && op >= MMA_BF16)
        fault("%s:%d: this needs a full warp, which has %d threads here", file, line, in_warp);
    mask &= full;
    if (!(mask >> (me->number & 31) & 1))
        fault("%s:%d: lane %d is not in its own mask %08x", file, line, me->number & 31, mask);
    me->file = file, me->line = line, me->op = op, me->mask = mask, me->deposit = deposit;
    me->is = Is::AT_COLLECTIVE;
    [[maybe_unused]] uint64_t *key = &set->warp_key[warp / 32][me->round & 1];
    if (op == SYNC) {
        TSAN(__tsan_release(key));
        me->round++;
    }
    void *deposits[32] = {};
    if (all_there(me, warp, mask, deposits)) {
        finish(deposits, mask, arg);
        for (int i = 0; i < in_warp; i++)
            if (mask >> i & 1)
                make_ready(&block.threads[(size_t)(warp + i)]);
    }
    next(false);
    if (op == SYNC)
        TSAN(__tsan_acquire(key));
}

/* ---- asynchronous copies ---- */
static AsyncCopy copies[MAX_THREADS][MAX_COPIES]; /* of every thread, the oldest first */

void async_copy(void *shared, const void *global, int bytes, int valid)
{
    Thread *me = block.now;
    if ((bytes != 4 && bytes != 16) || (uintptr_t)shared % (unsigned)bytes != 0 ||
        (valid > 0 && (uintptr_t)global % (unsigned)bytes != 0))
        fault("cp.async of %d bytes, to %p from %p: not aligned to its size", bytes, shared,
              global);
    if (me->n_copies == MAX_COPIES)
        fault("more than %d asynchronous copies under way", (int)MAX_COPIES);
    copies[me->number][me->n_copies++] = {shared, global, bytes, valid};
}

void async_commit()
{
    Thread *me = block.now;
    if (me->n_groups == MAX_COPIES)
        fault("more than %d groups of asynchronous copies under way", (int)MAX_COPIES);
    me->group_end[me->n_groups++] = me->n_copies;
}

/* In instrumented code (async.cc), so that the sanitizers see both sides. */
void copy_now(void *to, const void *from, int bytes, int valid);

void async_wait(int groups_left)
{
    Thread *me = block.now;
    AsyncCopy *mine = copies[me->number];
    const int groups = me->n_groups - groups_left;
    if (groups <= 0)
        return;
    const int done = me->group_end[groups - 1];
    for (int i = 0; i < done; i++)
        copy_now(mine[i].to, mine[i].from, mine[i].bytes, mine[i].valid);
    for (int i = done; i < me->n_copies; i++)
        mine[i - done] = mine[i];
    me->n_copies -= done;
    me->n_groups = groups_left;
    for (int i = 0; i < groups_left; i++)
        me->group_end[i] = me->group_end[groups + i] - done;
}

/* ---- blocks and grids ---- */
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

static std::map<const void *, int> &shared_limits()
{
    static std::map<const void *, int> limits;
    return limits;
}

cudaError_t allow_shared(const void *kernel, int bytes)
{
    if (bytes < 0 || (size_t)bytes > SHARED_MOST)
        return cudaErrorInvalidValue;
    shared_limits()[kernel] = bytes;
    return cudaSuccess;
}

cudaError_t check_launch(const cudaLaunchConfig_t *c, const void *kernel)
{
    const dim3 g = c->gridDim, b = c->blockDim;
    const size_t n = (size_t)b.x * b.y * b.z;
    const auto it = shared_limits().find(kernel);
    const size_t most = it != shared_limits().end() ? (size_t)it->second : SHARED_DEFAULT;
    if (n == 0 || n > MAX_THREADS || b.z > 64 || g.x == 0 || g.y == 0 || g.z == 0 ||
        g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
        return cudaErrorInvalidConfiguration;
    return c->dynamicSmemBytes <= std::max(most, SHARED_DEFAULT) ? cudaSuccess
                                                                 : cudaErrorInvalidValue;
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
