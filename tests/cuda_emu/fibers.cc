/* fibers.cc - threads of a block as fibers: who runs next, by the schedule that was asked for. */
#include "tests/cuda_emu/block.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

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

Block block;
void *host_stack;
size_t host_stack_size;
static uint64_t random_state;

static int setting(const char *name, int otherwise)
{
    const char *s = getenv(name);
    return s != nullptr ? atoi(s) : otherwise;
}

const Config &config()
{
    static const Config c = {setting("EMU_ORDER", 0), setting("EMU_LAZY", 0),
                             setting("EMU_GUARD", 0), setting("EMU_SMS", 4),
                             setting("EMU_DEVICES", 1), setting("EMU_MEMORY", 4)};
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

NO_SANITIZER void make_ready(Thread *t)
{
    t->is = Is::READY;
    block.ready[(block.first + block.n_ready++) % MAX_THREADS] = t->number;
}

/* A fixed order of warps for each odd EMU_ORDER. */
struct Ranks {
    unsigned of[MAX_THREADS / 32];
    Ranks()
    {
        for (unsigned w = 0; w < MAX_THREADS / 32; w++) {
            const unsigned key = (w + 1) * 2654435761u * (unsigned)config().order;
            of[w] = key ^ key >> 15;
        }
    }
};

NO_SANITIZER static unsigned pick()
{
    const int order = config().order;
    if (order == 0)
        return 0;
    if (order == 1)
        return block.n_ready - 1;
    if (order % 2 == 0)
        return (unsigned)(random_bits() % block.n_ready);
    static const Ranks ranks;
    unsigned best = 0, least = ~0u;
    for (unsigned i = 0; i < block.n_ready && least > 0; i++) {
        const unsigned rank = ranks.of[block.ready[(block.first + i) % MAX_THREADS] / 32];
        if (rank < least)
            least = rank, best = i;
    }
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

NO_SANITIZER void next(bool dying)
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
} // namespace emu
