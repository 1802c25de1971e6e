/* test_peer.c - a case beside another program: one of a few lines that answers at once. */
#include "bench/peer.h"

#include "bench/case.h"
#include "tests/fixtures/place.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Says that every request for steps takes a tenth of a second, whatever it opens. */
static const char fine[] = "#!/bin/sh\n"
                           "while read -r word rest; do\n"
                           "  case $word in\n"
                           "  hello) more=',\"protocol\":1,\"compiler\":\"fake 1.0\"' ;;\n"
                           "  open) more=',\"what\":\"nothing\",\"seconds\":0.1' ;;\n"
                           "  time) more=',\"seconds\":0.1' ;;\n"
                           "  esac\n"
                           "  echo '{\"status\":\"ok\",\"reason\":\"\"'\"$more}\"\n"
                           "done\n";
static const char lacking[] =
    "#!/bin/sh\n"
    "read -r word; echo '{\"status\":\"ok\",\"protocol\":1,\"compiler\":\"fake 1.0\"}'\n"
    "read -r word; echo '{\"status\":\"unsupported\",\"reason\":\"no such thing\"}'\n"
    "read -r word\n";
static const char dying[] =
    "#!/bin/sh\n"
    "read -r word; echo '{\"status\":\"ok\",\"protocol\":1,\"compiler\":\"fake 1.0\"}'\n"
    "echo 'out of patience' >&2\n";

static Case small_case(void)
{
    return (Case){.variant = "attention",
                  .backend = "cpu",
                  .dtype = "f32",
                  .level = LEVEL_KERNEL,
                  .pass = PASS_FWD,
                  .n = 64,
                  .batch = 1,
                  .width = 32,
                  .heads = 2,
                  .layers = 1,
                  .threads = 1,
                  .causal = true,
                  .hot = true,
                  .seed = 1,
                  .time_limit = 0.8,
                  .mem_limit = INT64_C(1) << 30};
}

static Row meet(const char *script)
{
    Place p = place();
    char path[128];
    Row row;
    Case c = small_case();
    snprintf(path, sizeof path, "%s/peer", p.folder);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs(script, f);
    fclose(f);
    chmod(path, 0700);
    setenv("LONGMIX_PEER", path, 1);
    peer_run(&c, &row);
    leave(&p);
    return row;
}

Test(peer, is_timed_in_turn)
{
    Row r = meet(fine);
    cr_assert_eq(r.status, ROW_OK, "%s", r.reason);
    cr_expect_eq(r.kind, ROW_PEER);
    cr_expect_str_eq(r.peer, "fake 1.0");
    cr_expect_str_eq(r.peer_runs, "nothing");
    cr_expect_float_eq(r.peer_seconds, 0.1, 1e-9, "%g", r.peer_seconds);
    cr_expect(r.timing.n >= 8 && r.timing.median > 0);
    cr_expect(r.ratio_lo <= r.ratio && r.ratio <= r.ratio_hi);
    cr_expect_float_eq(r.ratio * r.timing.median, 0.1, 0.03, "%g", r.ratio * r.timing.median);
}

Test(peer, that_cannot_or_dies_is_a_row_with_its_reason)
{
    Row r = meet(lacking);
    cr_expect_eq(r.status, ROW_UNSUPPORTED);
    cr_expect_str_eq(r.reason, "no such thing");
    r = meet(dying);
    cr_expect_eq(r.status, ROW_CRASH);
    cr_expect(strlen(r.reason) > 0);
    r = meet("#!/bin/sh\necho hello\n");
    cr_expect_neq(r.status, ROW_OK);
    cr_expect(strlen(r.reason) > 0);
}

/* Ours is ready for every case that a peer is asked for. */
Test(peer, every_listed_case_is_one_of_ours)
{
    static Row row;
    static const char *const backends[] = {"cpu", "cuda"};
    for (int i = 0; i < COUNT(backends); i++)
        for (const PeerCase *p = peer_cases_of(backends[i]); p->variant != NULL; p++) {
            Case c = peer_case(p, backends[i], i == 0 ? "f32" : "bf16", 2, 0);
            cr_expect(c.n >= 512 && c.threads == 2);
            cr_expect(i == 0 ? p->bar >= 1 : p->bar == 0); /* no GPU has told what can be */
            cr_expect(c.width % c.heads == 0);
            cr_expect_str_eq(c.backend, backends[i]);
            cr_expect_lt(strlen(p->set), sizeof c.set);
            case_predict(&c, &row);
            cr_expect_eq(row.status, ROW_OK, "%s: %s", p->variant, row.reason);
        }
}
