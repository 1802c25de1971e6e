/* heat.c - heat maps by gnuplot. */
#include "report/heat.h"

#include "report/files.h"
#include "report/gnuplot.h"
#include "report/script.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* A copy in which nothing is a subscript to gnuplot. */
typedef struct Plain {
    char s[512];
} Plain;

static Plain plain(const char *text)
{
    Plain p;
    size_t n = 0;
    for (; *text != '\0' && n + 4 < sizeof p.s; text++) {
        if (*text == '_') {
            p.s[n++] = '\\';
            p.s[n++] = '\\';
        }
        p.s[n++] = *text;
    }
    p.s[n] = '\0';
    return p;
}

static bool has_negative(const Heat *h)
{
    for (int p = 0; p < h->n_panels; p++)
        for (int64_t i = 0; i < h->n * h->n; i++)
            if (h->matrix[p][i] < 0)
                return true;
    return false;
}

static void write_data(FILE *f, const Heat *h, int panel)
{
    fprintf(f, "$m%d << EOD\n", panel);
    for (int64_t i = 0; i < h->n; i++) {
        const double *row = h->matrix[panel] + i * h->n;
        double most = 0;
        for (int64_t j = 0; j < h->n; j++)
            most = fmax(most, fabs(row[j]));
        for (int64_t j = 0; j < h->n; j++)
            fprintf(f, "%.3g ", most > 0 ? copysign(sqrt(fabs(row[j]) / most), row[j]) : 0.0);
        fputc('\n', f);
    }
    fputs("EOD\n", f);
}

static void write_script(FILE *f, const Heat *h)
{
    Grid grid = script_grid(h->n_panels);
    Plain title = plain(h->title), caption = plain(h->caption);
    script_head(f, h->name, title.s, caption.s, grid);
    for (int i = 0; i < h->n_panels; i++)
        write_data(f, h, i);
    fprintf(f,
            "set palette defined (-1 '#b2182b', -0.3 '#f4a582', 0 '#ffffff', 0.3 '#92c5de', "
            "1 '#053061')\nset cbtics (\"-1\" -1, \"-0.25\" -0.5, \"-0.05\" "
            "-0.2236, \"0\" 0, \"0.05\" 0.2236, \"0.25\" 0.5, \"1\" 1)\nunset key\nunset grid\n");
    fprintf(f, has_negative(h) ? "set cbrange [-1:1]\n"
                               : "set palette defined (0 '#ffffff', 0.3 '#92c5de', 1 '#053061')\n"
                                 "set cbrange [0:1]\n");
    script_body(f, h->name, title.s, caption.s, grid);
    fputs("unset key\n", f);
    for (int i = 0; i < h->n_panels; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s %d", h->panel, i + 1);
        if (h->n_panels > 1)
            script_panel(f, name);
        fprintf(f,
                "set size ratio 1\nset xrange [-0.5:%lld.5]\nset yrange [%lld.5:-0.5]\n"
                "set xlabel 'input position j'\nset ylabel 'output position i'\n"
                "plot $m%d matrix with image pixels notitle\n",
                (long long)h->n - 1, (long long)h->n - 1, i);
    }
    script_end(f, grid);
}

Status heat_draw(const Heat *h)
{
    char path[1024], script[256];
    CHECK(h->n_panels >= 1 && h->n_panels <= HEAT_MAX);
    TRY(folder_make(h->folder));
    snprintf(script, sizeof script, "%s.gp", h->name);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", h->folder, script) >= sizeof path)
        return FAIL(ST_USAGE, "%.60s...: too long a path", h->folder);
    FILE *f = fopen(path, "w");
    if (f == NULL)
        return FAIL(ST_IO, "cannot write %s: %s", path, strerror(errno));
    write_script(f, h);
    bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad)
        return FAIL(ST_IO, "cannot write %s: %s", path, strerror(errno));
    return gnuplot_run(h->folder, script);
}
