/* format.c - numbers with units. */
#include "report/format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* "1.50" -> "1.5", "4.00" -> "4" */
static void strip_zeros(char *s)
{
    if (strchr(s, '.') == NULL)
        return;
    char *end = s + strlen(s);
    while (end[-1] == '0')
        *--end = '\0';
    if (end[-1] == '.')
        end[-1] = '\0';
}

/* x in the largest unit that leaves it at 1 or more, with up to three significant digits. */
static Text scaled(double x, double base, const char *const units[], int n)
{
    int i = 0;
    for (; i + 1 < n && fabs(x) >= base * 0.9995; i++)
        x /= base;
    Text t = text_digits(x), out;
    strip_zeros(t.s);
    snprintf(out.s, sizeof out.s, "%.20s%s", t.s, isnan(x) ? "" : units[i]);
    return out;
}

Text text_digits(double x)
{
    Text t;
    if (isnan(x)) {
        snprintf(t.s, sizeof t.s, "-");
        return t;
    }
    int magnitude = x == 0 || isinf(x) ? 0 : (int)floor(log10(fabs(x)) + 1e-4);
    int decimals = magnitude >= 2 ? 0 : magnitude >= -6 ? 2 - magnitude : 8;
    snprintf(t.s, sizeof t.s, "%.*f", decimals, x);
    return t;
}

Text text_fixed(double x, int n)
{
    Text t;
    if (isnan(x))
        snprintf(t.s, sizeof t.s, "-");
    else
        snprintf(t.s, sizeof t.s, "%.*f", n, x);
    return t;
}

Text text_length(double tokens)
{
    Text t;
    double x = tokens >= 1048576 ? tokens / 1048576 : tokens >= 1024 ? tokens / 1024 : tokens;
    const char *unit = tokens >= 1048576 ? "M" : tokens >= 1024 ? "k" : "";
    if (fabs(x - round(x)) < 1e-9)
        snprintf(t.s, sizeof t.s, "%.0f%s", x, unit);
    else
        snprintf(t.s, sizeof t.s, "%.*f%s", x < 10 ? 1 : 0, x, unit);
    return t;
}

Text text_bytes(double bytes)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    return scaled(bytes, 1024, units, COUNT(units));
}

Text text_count(double n)
{
    static const char *const units[] = {"", "k", "M", "G"};
    if (n < 1000)
        return text_fixed(n, 0);
    return scaled(n, 1000, units, COUNT(units));
}

Text text_rate(double flops)
{
    static const char *const units[] = {" FLOP/s", " kFLOP/s", " MFLOP/s", " GFLOP/s", " TFLOP/s"};
    return scaled(flops, 1000, units, COUNT(units));
}

Text text_seconds(double seconds)
{
    Text t, digits;
    if (seconds >= 120) {
        digits = text_digits(seconds / 60);
        snprintf(t.s, sizeof t.s, "%.20s min", digits.s);
    } else if (seconds >= 1 || isnan(seconds)) {
        digits = text_digits(seconds);
        snprintf(t.s, sizeof t.s, "%.20s%s", digits.s, isnan(seconds) ? "" : " s");
    } else {
        digits = text_digits(seconds * 1e3);
        snprintf(t.s, sizeof t.s, "%.20s ms", digits.s);
    }
    return t;
}

Text text_percent(double fraction)
{
    Text t;
    if (isnan(fraction) || fraction <= 0)
        snprintf(t.s, sizeof t.s, "-");
    else
        snprintf(t.s, sizeof t.s, fraction < 0.0995 ? "%.1f %%" : "%.0f %%", 100 * fraction);
    return t;
}
