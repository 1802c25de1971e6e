/* plots.c - which plots there are, and drawing them. */
#include "report/plots.h"

#include "report/decode.h"
#include "report/files.h"
#include "report/gnuplot.h"
#include "report/plot.h"

#include <errno.h>
#include <string.h>

#define LENGTH "context length T (tokens)"
#define BAND   "median; band: 20th to 80th percentile of the samples"
#define COUNTED                                                                                    \
    "counted by the allocator, scratch of kernels left out; dotted: predicted before the run"

/* ---- sweeps: what is drawn, then of which rows ---- */
static const SweepPlot times = {
    .x_label = LENGTH,
    .y_label = "µs per token",
    .y = micros_per_token,
    .lo = micros_per_token_p20,
    .hi = micros_per_token_p80,
    .scale = SCALE_LOG,
    .stops = true,
    .guide = {{0, "whole sequence: time ∝ T", false}, {1, "time ∝ T²", false}}};
static const SweepPlot decode_times = {.x_label = "depth T: tokens before it",
                                       .y_label = "µs per token",
                                       .y = micros_per_token,
                                       .lo = micros_per_token_p20,
                                       .hi = micros_per_token_p80,
                                       .scale = SCALE_LOG,
                                       .stops = true,
                                       .guide = {{0, "constant", false}, {1, "time ∝ T", false}}};
static const SweepPlot memory = {.x_label = LENGTH,
                                 .y_label = "peak memory",
                                 .y = counted_bytes,
                                 .thin = predicted_bytes,
                                 .scale = SCALE_BYTES,
                                 .stops = true,
                                 .guide = {{1, "memory ∝ T", true}, {2, "memory ∝ T²", false}}};
static const SweepPlot fraction = {.x_label = LENGTH,
                                   .y_label = "% of the SGEMM rate measured in the same run",
                                   .y = percent_of_sgemm,
                                   .scale = SCALE_LINEAR};

static const struct {
    const SweepPlot *like;
    const char *name, *title, *caption;
    Level level;
    Pass pass;
} sweeps[] = {
    {&times, "time-per-token", "Time per token of one layer, forward", BAND "; lower is better",
     LEVEL_LAYER, PASS_FWD},
    {&times, "train-time", "Time per token of one layer, training step",
     "forward, backward and optimiser; " BAND, LEVEL_LAYER, PASS_TRAIN},
    {&times, "mix-time", "Time per token of token mixing alone, forward", BAND "; lower is better",
     LEVEL_MIX, PASS_FWD},
    {&times, "prefill", "Time per token of one layer, read in segments that carry state",
     BAND "; lower is better", LEVEL_LAYER, PASS_PREFILL},
    {&memory, "memory", "Peak memory of one layer, forward", COUNTED, LEVEL_LAYER, PASS_FWD},
    {&memory, "train-memory", "Peak memory of one layer, training step", COUNTED, LEVEL_LAYER,
     PASS_TRAIN},
    {&decode_times, "decode", "Time to decode one token, one layer", BAND "; lower is better",
     LEVEL_LAYER, PASS_DECODE},
    {&fraction, "sgemm-fraction", "Useful arithmetic, as a part of this machine's SGEMM rate",
     "one layer, forward; operations by each paper's formula; higher is better", LEVEL_LAYER,
     PASS_FWD},
};

static SweepPlot sweep_of(int i)
{
    SweepPlot p = *sweeps[i].like;
    p.name = sweeps[i].name;
    p.title = sweeps[i].title;
    p.caption = sweeps[i].caption;
    p.level = sweeps[i].level;
    p.pass = sweeps[i].pass;
    return p;
}

/* ---- trainings ---- */
static double point_tokens(const Point *p)
{
    return (double)p->tokens;
}
static double point_seconds(const Point *p)
{
    return p->seconds;
}

static const QualityPlot qualities[] = {
    {"quality-tokens", "Language modelling: bits per byte by training tokens",
     "held-out text; grey: entropies of the text and its size under xz; lower is better",
     "training tokens (bytes)", point_tokens},
    {"quality-time", "Language modelling: bits per byte by wall clock",
     "held-out text; grey: entropies of the text and its size under xz; lower is better",
     "seconds of training on this machine", point_seconds},
};

/* A sweep, a quality plot, or else the one of decoding. */
typedef struct AnyPlot {
    const SweepPlot *sweep;
    const QualityPlot *quality;
    const char *name, *title;
} AnyPlot;

static Status write_script(const AnyPlot *p, const Rows *rows, const char *path, bool *drawn)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return FAIL(ST_IO, "%s: %s", path, strerror(errno));
    Status st = p->sweep != NULL     ? plot_sweep(f, p->sweep, rows, drawn)
                : p->quality != NULL ? plot_quality(f, p->quality, rows, drawn)
                                     : plot_decode(f, p->name, rows, drawn);
    bool written = ferror(f) == 0;
    written = fclose(f) == 0 && written;
    if (st == ST_OK && !written)
        st = FAIL(ST_IO, "%s: cannot be written", path);
    return st;
}

/* Files of an earlier report must not look like ones of this. */
static void forget(const char *folder, const char *name)
{
    static const char *const endings[] = {"gp", "svg", "png"};
    char path[4096];
    for (int i = 0; i < COUNT(endings); i++) {
        snprintf(path, sizeof path, "%s/%s.%s", folder, name, endings[i]);
        remove(path);
    }
}

static Status make_plot(const AnyPlot *p, const Rows *rows, const char *folder, PlotNotes *notes)
{
    const char *name = p->name, *title = p->title;
    char path[4096], script[64];
    PlotNote *note = &notes->note[notes->n++];
    *note = (PlotNote){.name = name, .title = title, .why = ""};
    snprintf(script, sizeof script, "%s.gp", name);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, script) >= sizeof path)
        return FAIL(ST_USAGE, "%s: too long a path", folder);
    forget(folder, name);
    TRY(write_script(p, rows, path, &note->drawn));
    if (!note->drawn) {
        remove(path);
        note->why = "no such rows in the journal";
        return ST_OK;
    }
    Status st = notes->trouble[0] == '\0' ? gnuplot_run(folder, script) : ST_UNSUPPORTED;
    note->drawn = st == ST_OK;
    if (st == ST_UNSUPPORTED && notes->trouble[0] == '\0')
        snprintf(notes->trouble, sizeof notes->trouble, "%s", status_reason());
    return st == ST_UNSUPPORTED ? ST_OK : st;
}

Status plots_make(const Rows *rows, const char *folder, PlotNotes *notes)
{
    _Static_assert(COUNT(sweeps) + COUNT(qualities) + 1 <= PLOTS_MAX, "too many plots");
    *notes = (PlotNotes){0};
    TRY(folder_make(folder));
    for (int i = 0; i < COUNT(sweeps); i++) {
        SweepPlot p = sweep_of(i);
        TRY(make_plot(&(AnyPlot){&p, NULL, p.name, p.title}, rows, folder, notes));
    }
    for (int i = 0; i < COUNT(qualities); i++)
        TRY(make_plot(&(AnyPlot){NULL, &qualities[i], qualities[i].name, qualities[i].title}, rows,
                      folder, notes));
    return make_plot(&(AnyPlot){.name = "decode-speedup", .title = "Decoding by model size"}, rows,
                     folder, notes);
}
