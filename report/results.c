/* results.c - RESULTS.md, put together. */
#include "report/results.h"

#include "report/files.h"
#include "report/format.h"
#include "report/plots.h"
#include "report/selftest.h"
#include "report/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

static const char glossary[] =
    "## What the words mean\n\n"
    "- **variant**: a way to mix tokens, or a whole recipe around it; `(naive)` and `(tiled)`: "
    "with "
    "the T x T matrix in memory, and without.\n"
    "- **T**: context length in tokens; 1k is 1024, 1M is 1048576.\n"
    "- **level**: `mix` is token mixing alone, `layer` one Transformer layer or its equivalent "
    "(two "
    "GAU layers), `model` all of it.\n"
    "- **pass**: `fwd` forward; `bwd` backward alone; `train` forward, backward and optimiser; "
    "`prefill` a sequence in segments that carry state; `decode` one token at depth T.\n"
    "- **µs/token**: median time of a step, divided by its tokens. Unless a variant is marked hot, "
    "steps take copies of the input in turn (`rotated_bytes` in the journal says how much memory, "
    "often more than the last-level cache; prefill has one input; a GPU's cache is emptied before "
    "each step instead); weights and carried state are "
    "the same ones each step and may be in cache.\n"
    "- **99 % interval**: of the median, by the sign test, from the order of the samples alone; "
    "sampling stops when it is narrow, so it may cover a little less than 99 %; below 8 samples it "
    "is their least and largest, which cover less.\n"
    "- **time grows as T^p ± e**: least squares of log time on log T over the largest 4 lengths, "
    "with the standard error of the slope.\n"
    "- **faster than vanilla**: where the lines of the two cross; the numbers in brackets are the "
    "crossings with every time at the end of its interval that is best, and worst, for the "
    "variant; "
    "**no clear difference**: they overlap at all lengths; **back and forth**: the lines cross "
    "more "
    "than once.\n"
    "- **peak memory**: the largest sum of what was allocated at one time for parameters, "
    "gradients, "
    "optimiser, activations, state and inputs. **scratch** of kernels is apart: it can grow with T "
    "(attention "
    "packs the keys and values of a head) and is not predicted. **process**: peak of the whole "
    "process above its start. k, M, G of bytes are powers of 1024.\n"
    "- **of sgemm**: useful operations by the paper's formula, per second, as a part of the "
    "single-precision matrix product's rate on the same machine; **of bandwidth**: bytes that the "
    "operands have, per second, as a part of the rate of reading memory.\n"
    "- **parameters**: trainable numbers, embeddings apart; k, M are powers of 1000.\n"
    "- **bits/byte**: mean negative log2 probability of a held-out byte; **valid**: of windows "
    "spread "
    "over the validation part, **test**: of all of the test part; **byte perplexity**: 2 to "
    "its power; **against order 1**: minus the entropy of a byte of this text after the byte "
    "before "
    "it.\n"
    "- **oom**, **timeout**: out of memory or time; **predicted**: known before the run and not "
    "run; "
    "**skipped_after**: a smaller T had failed; **skipped_budget**, **no time left**: the time of "
    "the "
    "profile was spent; **failed_check**: differs from the reference; **unsupported**: says why.\n";

static void item(FILE *f, const char *name, const char *value)
{
    fprintf(f, "- %s: ", name);
    put_text(f, value[0] != '\0' ? value : "unknown");
    fprintf(f, "\n");
}

static bool uses_cuda(const Rows *rows)
{
    for (int i = 0; i < rows->n; i++)
        if (strcmp(rows->row[i].c.backend, "cuda") == 0 && rows->row[i].status == ROW_OK)
            return true;
    return false;
}

/* The machine block of the GPU that was used, if one was. */
static void write_gpu(FILE *f, const Gpu *g)
{
    if (g->name[0] == '\0')
        return;
    fprintf(f, "- GPU: ");
    put_text(f, g->name);
    fprintf(f, ", number %d, %s, %s of cache, CUDA driver ", g->device,
            text_bytes((double)g->memory).s, text_bytes((double)g->cache).s);
    put_text(f, g->driver);
    if (g->clock > 0)
        fprintf(f, ", %d MHz and memory %d MHz at the start", g->clock, g->memory_clock);
    fprintf(f, ", ECC ");
    put_text(f, g->ecc[0] != '\0' ? g->ecc : "unknown");
    if (g->throttle[0] != '\0') {
        fprintf(f, ", clocks lowered at the start for ");
        put_text(f, g->throttle);
    }
    fprintf(f, "\n");
}

/* The newest run of each profile has its rows in here. */
static void write_command(FILE *f, const Row *r)
{
    fprintf(f, "- profile ");
    put_text(f, r->profile[0] != '\0' ? r->profile : "unknown");
    fprintf(f, ", ");
    put_text(f, r->date[0] != '\0' ? r->date : "unknown");
    fprintf(f, ": `");
    for (const char *p = r->command; *p != '\0'; p++)
        fputc(*p == '`' || *p < ' ' ? ' ' : *p, f);
    fprintf(f, "`\n");
}

/* How far the CUDA backend can be trusted; gpu: a run that used one, or NULL. */
static void write_tiers(FILE *f, const Row *gpu)
{
    fprintf(f, "- What is known of the CUDA backend, by tier: emulated on the CPU (`make test`); "
               "compiled and gated for sm_80, 90, 100 and 120 (`make check`, where nvcc is); "
               "run on a GPU: ");
    if (gpu == NULL) {
        fprintf(f, "nothing here\n");
        return;
    }
    const char said[] = "available: ";
    const bool starts = strncmp(gpu->cuda, said, sizeof said - 1) == 0;
    put_text(f, gpu->cuda + (starts ? sizeof said - 1 : 0));
    fprintf(f, ", ");
    put_text(f, gpu->date);
    fprintf(f, "\n");
}

/* The machine, the build and the runs. */
static void write_run(FILE *f, const Rows *rows)
{
    const Row *r = rows_run(rows);
    bool cuda = uses_cuda(rows);
    fprintf(f, "# Results\n\n");
    fprintf(f,
            "Do efficient attention variants keep their papers' promises, on this machine, at "
            "these context lengths? Measured by `longmix`; this page and its plots are made from "
            "the journal alone.\n\n");
    item(f, "CPU", r->host_cpu);
    fprintf(f, "- cores: %d, threads used: %d, memory: %s\n", r->n_cores, r->n_threads,
            text_bytes((double)r->total_memory).s);
    write_gpu(f, &r->gpu);
    item(f, "instruction set", r->isa);
    item(f, "system", r->os);
    item(f, "compiler", r->compiler);
    item(f, "flags", r->flags);
    item(f, "commit", r->commit);
    item(f, "build", r->build);
    for (const Row *run = rows->row; run < rows->row + rows->n; run++)
        if (run->kind == ROW_RUN)
            write_command(f, run);
    fprintf(f, "- The CUDA backend was %s", cuda ? "used: " : "not used: ");
    put_text(f, r->cuda[0] != '\0' ? r->cuda : "no reason was recorded");
    fprintf(f, "\n");
    write_tiers(f, cuda ? r : NULL);
}

/* What of the journal is in here, and what not. */
static void write_selection(FILE *f, const Rows *rows)
{
    int n_ok = 0, n_not = 0;
    for (int i = 0; i < rows->n; i++) {
        const Row *r = &rows->row[i];
        bool point = r->kind == ROW_CASE || r->kind == ROW_TRAIN;
        n_ok += point && r->status == ROW_OK;
        n_not += point && r->status != ROW_OK;
    }
    fprintf(f, "- points: %d measured, %d without a number (each with its reason, below)\n", n_ok,
            n_not);
    if (rows->n_older > 0)
        fprintf(f, "- left out: %d rows of other builds than the newest\n", rows->n_older);
    if (rows->n_elsewhere > 0)
        fprintf(f, "- left out: %d rows of other machines\n", rows->n_elsewhere);
    if (rows->n_replaced > 0)
        fprintf(f, "- left out: %d rows of points that were run again later\n", rows->n_replaced);
    if (!rows->finished)
        fprintf(f, "- **the newest run has not come to its end: points are missing**\n");
    fprintf(f, "\n");
}

static void write_plots(FILE *f, const PlotNotes *notes, const char *way)
{
    fprintf(f, "## Plots\n\n");
    if (notes->trouble[0] != '\0')
        fprintf(f, "There are no plots: %s. The scripts are in `%s`.\n\n", notes->trouble, way);
    for (const PlotNote *p = notes->note; p < notes->note + notes->n; p++)
        if (p->drawn)
            fprintf(f, "![%s](%s/%s.svg)\n\n", p->title, way, p->name);
    bool none = true;
    for (const PlotNote *p = notes->note; p < notes->note + notes->n; p++) {
        if (p->drawn || p->why[0] == '\0')
            continue;
        fprintf(f, "%s%s", none ? "Not drawn, for want of such rows: " : ", ", p->name);
        none = false;
    }
    if (!none)
        fprintf(f, ".\n\n");
}

static Status write_all(FILE *f, const Rows *rows, const PlotNotes *notes, const char *way,
                        const char *selftest)
{
    Selftest trust;
    if (selftest != NULL)
        TRY(selftest_read(selftest, &trust));
    write_run(f, rows);
    write_selection(f, rows);
    TRY(table_headline(f, rows));
    write_plots(f, notes, way);
    TRY(table_costs(f, rows));
    TRY(table_quality(f, rows));
    table_roof(f, rows);
    TRY(table_decode(f, rows));
    TRY(table_kernels(f, rows));
    table_peers(f, rows);
    TRY(table_largest(f, rows));
    TRY(table_checks(f, rows));
    TRY(table_leaks(f, rows));
    TRY(table_failures(f, rows));
    if (selftest != NULL)
        selftest_section(f, &trust);
    TRY(table_points(f, rows));
    fputs(glossary, f);
    return ST_OK;
}

static Status write_file(const char *path, const Rows *rows, const PlotNotes *notes,
                         const char *way, const char *selftest)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return FAIL(ST_IO, "%s: %s", path, strerror(errno));
    Status st = write_all(f, rows, notes, way, selftest);
    bool written = ferror(f) == 0;
    written = fclose(f) == 0 && written;
    return st == ST_OK && !written ? FAIL(ST_IO, "%s: cannot be written", path) : st;
}

static Status make(const Rows *rows, const char *out_md, const char *plots_folder,
                   const char *selftest)
{
    char folder[PATH_MAX], way[PATH_MAX];
    PlotNotes notes;
    folder_of(out_md, folder, sizeof folder);
    TRY(folder_make(folder));
    TRY(plots_make(rows, plots_folder, &notes));
    TRY(path_between(folder, plots_folder, way, sizeof way));
    return write_file(out_md, rows, &notes, way, selftest);
}

Status report_make(const char *journal, const char *out_md, const char *plots_folder,
                   const char *selftest)
{
    Rows rows;
    TRY(rows_load(journal, &rows));
    Status st = make(&rows, out_md, plots_folder, selftest);
    rows_free(&rows);
    return st;
}

Status report_kernels(const char *journal, bool ops, FILE *out)
{
    Rows rows;
    TRY(rows_load(journal, &rows));
    Status st = table_kernels(out, &rows);
    table_peers(out, &rows);
    if (ops)
        table_ops(out, &rows);
    rows_free(&rows);
    return st;
}
