/* test_device.c - the one door for memory: accounts, limits, free lists, scratch. */
#include "kernels/kernels.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const host_backends[] = {"ref", "cpu", "dry"};

static Dev *open_limited(const char *backend, size_t limit)
{
    Dev *d = NULL;
    cr_assert_eq(dev_open(&d, backend, 0, limit), ST_OK, "%s: %s", backend, status_reason());
    return d;
}

static Buf take(Dev *d, size_t size, MemTag tag)
{
    Buf b;
    cr_assert_eq(dev_alloc(d, size, tag, &b), ST_OK, "%s", status_reason());
    cr_assert(b.ptr != NULL && b.size == size && b.tag == tag);
    return b;
}

static void expect_words(const char *words)
{
    cr_expect_not_null(strstr(status_reason(), words), "'%s' lacks '%s'", status_reason(), words);
}

/* ---- opening ---- */
Test(device, names_and_sizes)
{
    for (int i = 0; i < COUNT(host_backends); i++) {
        Dev *d = open_limited(host_backends[i], 0);
        cr_expect_str_eq(dev_name(d), host_backends[i]);
        cr_expect_eq(dev_real(d), i == 0 ? sizeof(double) : sizeof(float));
        cr_expect_eq(dev_is_dry(d), i == 2);
        cr_expect_not_null(dev_kernels(d)->isa);
        cr_expect_eq(dev_sync(d), ST_OK);
        dev_close(d);
    }
    dev_close(NULL);
}

Test(device, unknown_backend_names_the_known_ones)
{
    Dev *d = (Dev *)&d;
    cr_expect_eq(dev_open(&d, "gpu9", 0, 0), ST_USAGE);
    cr_expect_null(d);
    expect_words("'gpu9'");
    expect_words("ref, dry, cpu, cuda");
}

Test(device, cuda_is_refused_with_the_reason_where_it_is_not)
{
    Dev *d = (Dev *)&d;
    Status st = dev_open(&d, "cuda", 0, 0);
    if (st == ST_OK) { /* a machine with a GPU */
        dev_close(d);
        return;
    }
    cr_expect_eq(st, ST_DEVICE);
    cr_expect_null(d);
    expect_words("'cuda' is not available");
    expect_words("liblongmix_cuda.so");
}

Test(device, there_is_one_of_each_host_device)
{
    for (int i = 0; i < COUNT(host_backends); i++) {
        Dev *d = (Dev *)&d;
        cr_expect_neq(dev_open(&d, host_backends[i], 7, 0), ST_OK);
        cr_expect_null(d);
        expect_words("7");
        expect_words(host_backends[i]);
    }
}

/* ---- accounts ---- */
Test(device, memory_is_counted_by_tag)
{
    Dev *d = open_limited("ref", 0);
    Buf act = take(d, 1000, MEM_ACT), work = take(d, 5000, MEM_WORK),
        param = take(d, 10, MEM_PARAM);
    dev_free(d, &act);
    cr_expect(act.ptr == NULL && act.size == 0);
    dev_free(d, &act); /* zero is fine */
    Buf act2 = take(d, 300, MEM_ACT);
    MemUse m = dev_mem(d);
    cr_expect(m.live[MEM_ACT] == 300 && m.peak[MEM_ACT] == 1000);
    cr_expect(m.live[MEM_WORK] == 5000 && m.peak[MEM_WORK] == 5000);
    cr_expect(m.live[MEM_PARAM] == 10 && m.live[MEM_GRAD] == 0 && m.peak[MEM_STATE] == 0);
    cr_expect_eq(m.live_counted, 310, "the workspace stands beside the sum");
    cr_expect_eq(m.peak_counted, 1010);
    cr_expect_eq(m.n_allocs, 4);

    dev_mem_reset_peak(d);
    m = dev_mem(d);
    cr_expect(m.peak[MEM_ACT] == 300 && m.peak[MEM_WORK] == 5000 && m.peak_counted == 310);
    dev_free(d, &act2);
    dev_free(d, &work);
    dev_free(d, &param);
    m = dev_mem(d);
    for (int i = 0; i < MEM_TAGS; i++)
        cr_expect_eq(m.live[i], 0, "%s", mem_tag_names[i]);
    cr_expect(m.live_counted == 0 && m.peak_counted == 310);
    dev_close(d);
}

Test(device, the_peak_of_the_sum_is_not_the_sum_of_peaks)
{
    Dev *d = open_limited("dry", 0);
    Buf a = take(d, 100, MEM_ACT);
    dev_free(d, &a);
    Buf b = take(d, 70, MEM_STATE);
    MemUse m = dev_mem(d);
    cr_expect(m.peak[MEM_ACT] == 100 && m.peak[MEM_STATE] == 70 && m.peak_counted == 100);
    dev_free(d, &b);
    dev_close(d);
}

static void one_round(Dev *d)
{
    static const size_t sizes[] = {1, 64, 65, 1000, 4095, 4096, 4097, 100000, 1000, 1000};
    Buf b[COUNT(sizes)];
    for (int i = 0; i < COUNT(sizes); i++) {
        b[i] = take(d, sizes[i], (MemTag)(i % MEM_TAGS));
        for (int j = 0; j < i; j++)
            cr_assert_neq(b[i].ptr, b[j].ptr, "one block is lent twice");
    }
    for (int i = 0; i < COUNT(sizes); i++) /* neither in order nor in reverse */
        dev_free(d, &b[(i * 3) % COUNT(sizes)]);
}

Test(device, a_second_round_asks_the_system_for_nothing)
{
    for (int i = 0; i < COUNT(host_backends); i++) {
        Dev *d = open_limited(host_backends[i], 0);
        one_round(d);
        MemUse first = dev_mem(d);
        one_round(d);
        MemUse second = dev_mem(d);
        cr_expect_gt(first.n_backend, 0);
        cr_expect_eq(second.n_backend, first.n_backend, "%s", host_backends[i]);
        cr_expect_eq(second.n_allocs, 2 * first.n_allocs);
        dev_close(d);
    }
}

/* Every block can be written from end to end: a reused one is as large as it was asked for. */
Test(device, reused_blocks_are_large_enough)
{
    Dev *d = open_limited("cpu", 0);
    for (size_t size = 1; size < 20000; size += 1 + size / 3)
        for (size_t less = 0; less < 80 && less < size; less += 13) {
            Buf a = take(d, size, MEM_ACT), b = take(d, size - less, MEM_ACT);
            memset(a.ptr, 1, a.size);
            memset(b.ptr, 2, b.size);
            cr_assert_eq(((char *)a.ptr)[a.size - 1], 1, "blocks overlap");
            dev_free(d, &a);
            dev_free(d, &b);
        }
    dev_close(d);
}

/* More sizes than free lists: a block comes back for its own size only. */
Test(device, spare_blocks_are_told_apart_by_size)
{
    enum { SIZES = 1000 };
    static void *ptr[SIZES];
    static Buf b[SIZES];
    Dev *d = open_limited("dry", 0);
    for (int i = 0; i < SIZES; i++)
        ptr[i] = (b[i] = take(d, (size_t)(i + 1) * 4096, MEM_ACT)).ptr;
    for (int n = 0; n < SIZES; n++)
        dev_free(d, &b[n * 3 % SIZES]);
    for (int n = 0; n < SIZES; n++) {
        int i = n * 11 % SIZES; /* neither in order nor in reverse */
        b[i] = take(d, (size_t)(i + 1) * 4096, MEM_ACT);
        cr_assert_eq(b[i].ptr, ptr[i], "size %d", i);
    }
    cr_expect_eq(dev_mem(d).n_backend, SIZES);
    for (int i = 0; i < SIZES; i++)
        dev_free(d, &b[i]);
    dev_close(d);
}

Test(device, neighbouring_sizes_share_their_blocks)
{
    Dev *d = open_limited("ref", 0);
    Buf a = take(d, 1000, MEM_ACT), b = take(d, 100000, MEM_ACT);
    dev_free(d, &a);
    dev_free(d, &b);
    a = take(d, 1020, MEM_ACT);
    b = take(d, 99000, MEM_ACT);
    cr_expect_eq(dev_mem(d).n_backend, 2, "a step may be a little longer than the last");
    dev_free(d, &a);
    dev_free(d, &b);
    dev_close(d);
}

Test(device, closing_with_memory_lent_out_is_a_broken_promise, .signal = SIGABRT)
{
    Dev *d = open_limited("ref", 0);
    take(d, 8, MEM_STATE);
    fclose(stderr);
    dev_close(d);
}

/* ---- limits ---- */
enum { MIB = 1 << 20 };

Test(device, the_limit_is_a_byte_limit)
{
    for (int i = 0; i < COUNT(host_backends); i++) {
        Dev *d = open_limited(host_backends[i], MIB);
        Buf a = take(d, MIB / 2, MEM_PARAM), b, c = take(d, MIB / 2, MEM_ACT);
        memset(&b, 1, sizeof b);
        MemUse before = dev_mem(d);
        cr_expect_eq(dev_alloc(d, 1, MEM_STATE, &b), ST_OOM);
        cr_expect(b.ptr == NULL && b.size == 0);
        expect_words("state");
        expect_words("memory limit of 0.001 GiB (0.001 in use)");
        MemUse after = dev_mem(d);
        cr_expect_eq(memcmp(&before, &after, sizeof before), 0, "a refusal changed the accounts");
        dev_free(d, &a);
        b = take(d, MIB / 2, MEM_STATE);
        dev_free(d, &b);
        dev_free(d, &c);
        dev_close(d);
    }
}

Test(device, spare_blocks_give_way_to_the_limit)
{
    Dev *d = open_limited("ref", MIB);
    Buf a = take(d, 600000, MEM_ACT);
    dev_free(d, &a);
    Buf b = take(d, 700000, MEM_ACT); /* with the spare block this would pass the limit */
    cr_expect_eq(dev_mem(d).n_backend, 2);
    dev_free(d, &b);
    a = take(d, 600000, MEM_ACT);
    cr_expect_eq(dev_mem(d).n_backend, 3, "the spare block of 600000 bytes was kept");
    dev_free(d, &a);
    dev_close(d);
}

Test(device, absurd_sizes_are_refused)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 63, SIZE_MAX - 4096, SIZE_MAX / 2 + 2};
    for (int i = 0; i < COUNT(host_backends); i++)
        for (int j = 0; j < 2 * COUNT(sizes); j++) {
            Buf b;
            Dev *d = open_limited(host_backends[i], j % 2 != 0 ? MIB : 0);
            cr_expect_eq(dev_alloc(d, sizes[j / 2], MEM_ACT, &b), ST_OOM, "%s, %zu",
                         host_backends[i], sizes[j / 2]);
            expect_words("act");
            cr_expect(b.ptr == NULL && dev_mem(d).live_counted == 0);
            dev_close(d);
        }
}

/* What a prediction asks for need not fit in any machine. */
Test(device, dry_takes_what_no_machine_has)
{
    const size_t size = (size_t)1 << 62;
    Dev *d = open_limited("dry", 0);
    Buf b = take(d, size, MEM_ACT);
    cr_expect_eq(dev_mem(d).live_counted, size);
    dev_free(d, &b);
    dev_close(d);
}

Test(device, the_nth_allocation_fails_on_request)
{
    Buf b = {0};
    void *scratch;
    Dev *d = open_limited("ref", 0);
    dev_fail_alloc(d, 3);
    Buf a = take(d, 8, MEM_ACT), c = take(d, 8, MEM_ACT);
    cr_expect_eq(dev_alloc(d, 24, MEM_ACT, &b), ST_OOM);
    expect_words("24 bytes failed on request");
    cr_expect_null(b.ptr);
    b = take(d, 24, MEM_ACT); /* once only */
    dev_fail_alloc(d, 1);
    cr_expect_eq(dev_scratch(d, 100, &scratch), ST_OOM, "scratch goes through the same door");
    dev_fail_alloc(d, 1);
    dev_fail_alloc(d, 0);
    cr_expect_eq(dev_scratch(d, 100, &scratch), ST_OK);
    dev_free(d, &a);
    dev_free(d, &b);
    dev_free(d, &c);
    dev_close(d);
}

/* ---- scratch ---- */
Test(device, scratch_grows_and_never_shrinks)
{
    void *a, *b, *c;
    Dev *d = open_limited("cpu", 0);
    cr_assert_eq(dev_scratch(d, 1000, &a), ST_OK);
    memset(a, 7, 1000);
    cr_assert_eq(dev_scratch(d, 10, &b), ST_OK);
    cr_expect_eq(a, b);
    size_t small = dev_mem(d).live[MEM_WORK];
    cr_expect(small >= 1000 && small <= 2000);
    cr_assert_eq(dev_scratch(d, 100000, &c), ST_OK);
    memset(c, 7, 100000);
    MemUse m = dev_mem(d);
    cr_expect_geq(m.live[MEM_WORK], 100000);
    cr_expect_leq(m.peak[MEM_WORK], 150000, "the old one should have gone first");
    cr_expect_eq(m.peak_counted, 0);
    cr_expect_eq(m.n_allocs, 2);
    dev_close(d); /* takes the scratch back */
}

Test(device, scratch_that_failed_to_grow_can_be_asked_again)
{
    void *p;
    Dev *d = open_limited("cpu", MIB);
    cr_assert_eq(dev_scratch(d, 1000, &p), ST_OK);
    cr_expect_eq(dev_scratch(d, 2 * MIB, &p), ST_OOM);
    cr_assert_eq(dev_scratch(d, 1000, &p), ST_OK);
    memset(p, 7, 1000);
    dev_close(d);
}

/* ---- clocks and names ---- */
Test(device, timers_run_forward)
{
    for (int i = 0; i < COUNT(host_backends); i++) {
        Timer *t = NULL;
        double first = -1, second = -1;
        Dev *d = open_limited(host_backends[i], 0);
        cr_assert_eq(timer_new(d, &t), ST_OK);
        cr_assert_eq(timer_start(t), ST_OK);
        cr_assert_eq(timer_stop(t, &first), ST_OK);
        cr_assert_eq(timer_stop(t, &second), ST_OK);
        cr_expect(first >= 0 && second >= first && second < 10);
        timer_free(t);
        dev_close(d);
    }
    timer_free(NULL);
}

Test(device, every_tag_and_status_has_a_name)
{
    for (int i = 0; i < MEM_TAGS; i++)
        cr_expect(mem_tag_names[i] != NULL && mem_tag_names[i][0] != '\0');
    for (Status st = ST_OK; st <= ST_USAGE; st++)
        cr_expect_str_neq(status_name(st), "unknown");
    cr_expect_str_eq(status_name((Status)(ST_USAGE + 1)), "unknown");
}
