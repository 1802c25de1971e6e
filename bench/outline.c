/* outline.c - see outline.h. */
#include "bench/outline.h"

#include "bench/progress.h"

#include <inttypes.h>

void outline_print(const Plan *p, int n_trainings, FILE *out)
{
    double elapsed = 0;
    int runs = 0;
    fprintf(out, "%-21s %-6s %-8s %-6s %10s %6s %10s %10s %10s  %s\n", "variant", "level", "pass",
            "impl", "n", "batch", "step", "case", "memory", "verdict");
    for (int i = 0; i < p->n; i++) {
        const Job *j = &p->job[i];
        char name[64], step[24], cost[24], memory[24];
        Verdict v = plan_verdict(p, j, elapsed);
        bool run = v.run && !j->done;
        snprintf(name, sizeof name, "%s%s%s", j->c.variant, j->c.size[0] != '\0' ? " " : "",
                 j->c.size);
        human_seconds(j->predicted_seconds, step, sizeof step);
        human_seconds(j->cost, cost, sizeof cost);
        human_bytes((double)j->predicted.counted, memory, sizeof memory);
        fprintf(out, "%-21s %-6s %-8s %-6s %10" PRId64 " %6" PRId64 " %10s %10s %10s  ", name,
                level_names[j->c.level], pass_names[j->c.pass], impl_names[j->c.impl], j->c.n,
                j->c.batch, step, cost, memory);
        if (j->done)
            fprintf(out, "done: %s\n", row_status_names[j->status]);
        else if (run)
            fprintf(out, "run\n");
        else
            fprintf(out, "%s: %s\n", row_status_names[v.status], v.reason);
        elapsed += run ? j->cost : 0;
        runs += run;
    }
    char total[24];
    human_seconds(elapsed, total, sizeof total);
    fprintf(out, "%d of %d points in about %s", runs, p->n, total);
    if (n_trainings > 0)
        fprintf(out, ", then %d trainings", n_trainings);
    fputc('\n', out);
}
