/* copies.cc - asynchronous copies of every thread, in groups, until they are waited for. */
#include "tests/cuda_emu/block.h"

namespace emu
{
struct AsyncCopy {
    void *to;
    const void *from;
    int bytes, valid;
};

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
} // namespace emu
