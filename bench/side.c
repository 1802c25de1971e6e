/* side.c - see side.h. */
#include "bench/side.h"

#include "bench/sampler.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *case_request(const Case *c)
{
    char *text = case_brief_json(c);
    json_t *request = text != NULL ? json_pack("{s:o}", "case", json_loads(text, 0, NULL)) : NULL;
    CHECK(request != NULL);
    free(text);
    return request;
}

/* ---- answers ---- */
static Status status_of(const char *name)
{
    static const struct {
        RowStatus row;
        Status st;
    } known[] = {{ROW_OK, ST_OK},
                 {ROW_OOM, ST_OOM},
                 {ROW_UNSUPPORTED, ST_UNSUPPORTED},
                 {ROW_FAILED_CHECK, ST_NONFINITE}};
    for (int i = 0; i < COUNT(known) && name != NULL; i++)
        if (strcmp(name, row_status_names[known[i].row]) == 0)
            return known[i].st;
    return ST_DEVICE;
}

static Status read_answer(const char *line, json_t **answer)
{
    *answer = json_loads(line, 0, NULL);
    const char *status = json_string_value(json_object_get(*answer, "status"));
    const char *reason = json_string_value(json_object_get(*answer, "reason"));
    Status st = status_of(status);
    if (st == ST_OK)
        return ST_OK;
    st = status == NULL ? FAIL(ST_USAGE, "the answer is none: %.80s", line)
                        : FAIL(st, "%s", reason != NULL ? reason : status);
    json_decref(*answer);
    *answer = NULL;
    return st;
}

Status side_ask(Side *s, const char *word, json_t *request, json_t **answer)
{
    char line[PIPE_BUF], *text = json_dumps(request, JSON_COMPACT), *said = NULL;
    Row row;
    json_decref(request);
    CHECK(text != NULL);
    int len = snprintf(line, sizeof line, "%s %s\n", word, text);
    free(text);
    CHECK(len > 0 && (size_t)len < sizeof line);
    if (s->child.pid == 0)
        return FAIL(ST_DEVICE, "the sampler is gone");
    kill(-s->child.pid, SIGCONT);
    Ask ask = {.limit = s->limit, .stop_fd = -1};
    if (child_exchange(&s->child, line, &ask, &said, &row) != ANSWER_ROW)
        return FAIL(ST_DEVICE, "%s", row.reason);
    kill(-s->child.pid, SIGSTOP);
    Status st = read_answer(said, answer);
    free(said);
    return st;
}

/* ---- starting ---- */
static void take_text(const json_t *answer, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(answer, name));
    snprintf(out, size, "%s", text != NULL ? text : "unknown");
}

static Status start_with(Side *s, const char *program, const char *env)
{
    char variable[64] = "", name[] = "longmix", command[] = "sampler";
    char *argv[] = {name, command, NULL};
    const char *equals = env != NULL ? strchr(env, '=') : NULL;
    if (equals != NULL) {
        snprintf(variable, sizeof variable, "%.*s", (int)(equals - env), env);
        setenv(variable, equals + 1, 1);
    }
    Status st = child_start(&s->child, program, argv);
    if (equals != NULL)
        unsetenv(variable);
    return st;
}

Status side_start(Side *s, const char *program, const char *env)
{
    enum { GREETING = 120 }; /* seconds */
    json_t *answer = NULL;
    *s = (Side){.program = program, .limit = GREETING};
    signal(SIGPIPE, SIG_IGN);
    TRY(start_with(s, program, env));
    Status st = side_ask(s, "hello", json_object(), &answer);
    if (st != ST_OK) {
        char why[160];
        snprintf(why, sizeof why, "%s", status_reason());
        side_stop(s);
        return FAIL(ST_USAGE, "%s: cannot be compared, it is no Longmix or too old for it: %s",
                    program != NULL ? program : "this program", why);
    }
    json_int_t protocol = json_integer_value(json_object_get(answer, "protocol"));
    take_text(answer, "build", s->build, sizeof s->build);
    take_text(answer, "commit", s->commit, sizeof s->commit);
    take_text(answer, "compiler", s->compiler, sizeof s->compiler);
    take_text(answer, "isa", s->isa, sizeof s->isa);
    json_decref(answer);
    if (protocol == SAMPLER_PROTOCOL)
        return ST_OK;
    side_stop(s);
    return FAIL(ST_USAGE, "%s: speaks protocol %lld of comparisons; this program speaks %d",
                program, (long long)protocol, SAMPLER_PROTOCOL);
}

void side_stop(Side *s)
{
    child_stop(&s->child);
}
