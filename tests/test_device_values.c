/* test_device_values.c - numbers on their way between host and device: copies and conversions. */
#include "kernels/kernels.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

static const char *const host_backends[] = {"ref", "cpu", "dry"};

static Dev *open_dev(const char *backend)
{
    Dev *d = NULL;
    cr_assert_eq(dev_open(&d, backend, 0, 0), ST_OK, "%s: %s", backend, status_reason());
    return d;
}

static Buf take(Dev *d, size_t size, MemTag tag)
{
    Buf b;
    cr_assert_eq(dev_alloc(d, size, tag, &b), ST_OK, "%s", status_reason());
    cr_assert(b.ptr != NULL && b.size == size && b.tag == tag);
    return b;
}

enum { N = 2500, AT = 3 }; /* several pieces of the conversion and a rest */

static double value_at(int64_t i)
{
    return 1.0 / (double)(3 + i); /* no float */
}

/* What a device stores of x. */
static double stored(const Dev *d, double x)
{
    return dev_real(d) == sizeof(double) ? x : (double)(float)x;
}

static void write_values(Dev *d, Buf b, bool wide)
{
    static double f64[N];
    static float f32[N];
    for (int64_t i = 0; i < N; i++)
        f32[i] = (float)(f64[i] = value_at(i));
    cr_assert_eq(wide ? dev_write_f64(d, b, AT, f64, N) : dev_write_f32(d, b, AT, f32, N), ST_OK);
}

static void check_values(Dev *d, Buf b, bool wide)
{
    static double back[N + 2 * AT];
    cr_assert_eq(dev_read_f64(d, back, b, 0, N + 2 * AT), ST_OK);
    for (int64_t i = 0; i < N; i++) {
        double sent = wide ? value_at(i) : (double)(float)value_at(i);
        double want = dev_is_dry(d) ? 0.0 : stored(d, sent);
        cr_assert_eq(back[AT + i], want, "%s: number %d is %.17g, not %.17g", dev_name(d), (int)i,
                     back[AT + i], want);
    }
    for (int i = 0; i < AT && !dev_is_dry(d); i++)
        cr_expect(back[i] == 9.0 && back[AT + N + i] == 9.0, "a neighbour was overwritten");
    double part;
    cr_assert_eq(dev_read_f64(d, &part, b, AT + 1024, 1), ST_OK);
    cr_expect_eq(part, back[AT + 1024]);
}

Test(device_values, reals_are_converted)
{
    for (int i = 0; i < 2 * COUNT(host_backends); i++) {
        bool wide = i % 2 != 0;
        Dev *d = open_dev(host_backends[i / 2]);
        Buf b = take(d, (N + 2 * AT) * dev_real(d), MEM_INPUT);
        cr_assert_eq(dev_kernels(d)->fill(d, N + 2 * AT, 9.0, b.ptr), ST_OK);
        write_values(d, b, wide);
        check_values(d, b, wide);
        dev_free(d, &b);
        dev_close(d);
    }
}

Test(device_values, bytes_travel_unchanged)
{
    static const int32_t sent[4] = {1, -2, 3, INT32_MAX};
    for (int i = 0; i < COUNT(host_backends); i++) {
        int32_t got[4] = {7, 7, 7, 7};
        Dev *d = open_dev(host_backends[i]);
        Buf a = take(d, sizeof sent, MEM_INPUT), b = take(d, sizeof sent, MEM_INPUT);
        cr_assert_eq(dev_write(d, a, sent, sizeof sent), ST_OK);
        cr_assert_eq(dev_copy(d, b, a, sizeof sent), ST_OK);
        cr_assert_eq(dev_read(d, got, b, 2 * sizeof got[0]), ST_OK);
        int32_t want = dev_is_dry(d) ? 0 : sent[1];
        cr_expect(got[1] == want && got[2] == 7, "%s", host_backends[i]);
        dev_free(d, &a);
        dev_free(d, &b);
        dev_close(d);
    }
}

Test(device_values, writing_past_a_buffer_is_a_broken_promise, .signal = SIGABRT)
{
    static const float two[2] = {1, 2};
    Dev *d = open_dev("ref");
    Buf b = take(d, sizeof(double), MEM_INPUT);
    fclose(stderr);
    (void)dev_write_f32(d, b, 0, two, 2);
}
