/* block.h - the block that runs: its threads as fibers, and what they use up. */
#ifndef LONGMIX_EMU_BLOCK_H
#define LONGMIX_EMU_BLOCK_H

#include "tests/cuda_emu/emu.h"

#include <vector>

#define NO_SANITIZER __attribute__((no_sanitize("address", "undefined")))

namespace emu
{
enum class Is : uint8_t { READY, AT_BARRIER, AT_COLLECTIVE, DONE };

enum { MAX_THREADS = 1024, MAX_COPIES = 512, STACK = 64 << 10, PAGE = 4096 };

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
struct Block {
    Thread *now, host;
    std::vector<Thread> threads;
    int n, live, arrived;
    unsigned round;
    int ready[MAX_THREADS]; /* a ring of those that can run */
    unsigned first, n_ready;
    const std::function<void()> *body;
    unsigned char *shared;
    bool failed;
};
extern Block block;

/* What threads of a block use up. Under the thread sanitizer, neighbouring blocks use different
 * sets, and nothing orders them: so it sees two blocks that write to one place. Blocks of the same
 * set are ordered, since they use the same fibers, stacks and shared memory. */
struct Set {
    char *stacks;
    unsigned char *shared;
    void *tsan[MAX_THREADS];
    uint64_t begin_key, end_key[2], n_blocks, barrier_key[2], warp_key[MAX_THREADS / 32][2];
};
extern Set *set; /* of the block that runs */

/* The stack that kernels are launched from. */
extern void *host_stack;
extern size_t host_stack_size;

void make_ready(Thread *t);
/* Gives way to a thread that is ready, or to the host when there is none. */
void next(bool dying);
/* Opens the barrier when all that still run have arrived. */
void try_release();
} // namespace emu

#endif
