/* collective.cc - barriers of a block and collectives of a warp. */
#include "tests/cuda_emu/block.h"

#include <algorithm>

namespace emu
{
/* ---- barriers: threads that have ended do not count (as from sm_70 on) ---- */
void try_release()
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
} // namespace emu
