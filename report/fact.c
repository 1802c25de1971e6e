/* fact.c - see fact.h. */
#include "report/fact.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const change_names[CHANGES + 1] = {"same",  "new",     "gone", "better",
                                               "worse", "changed", NULL};

void facts_text(Facts *f, const char *name, const char *value)
{
    CHECK(f->n < FACTS_MAX);
    Fact *x = &f->fact[f->n++];
    snprintf(x->name, sizeof x->name, "%s", name);
    snprintf(x->value, sizeof x->value, "%s", value);
}

void facts_number(Facts *f, const char *name, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    facts_text(f, name, text);
}

const Fact *facts_find(const Facts *f, const char *name)
{
    for (int i = 0; i < f->n; i++)
        if (strcmp(f->fact[i].name, name) == 0)
            return &f->fact[i];
    return NULL;
}

/* Is the whole text a finite number? A hash of digits alone is not told from one, but is 64 long.
 */
static bool number_of(const char *text, double *out)
{
    char *end = NULL;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out) && strlen(text) < 40;
}

static json_t *value_json(const char *text)
{
    double x = 0;
    if (!number_of(text, &x))
        return json_string(text);
    return x == floor(x) && fabs(x) < 0x1p53 ? json_integer((json_int_t)x) : json_real(x);
}

json_t *facts_json(const Facts *f)
{
    json_t *object = json_object();
    for (int i = 0; i < f->n; i++)
        if (json_object_set_new(object, f->fact[i].name, value_json(f->fact[i].value)) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

Status facts_parse(const json_t *object, Facts *out)
{
    const char *name;
    json_t *value;
    *out = (Facts){.n = 0};
    if (!json_is_object(object))
        return FAIL(ST_USAGE, "facts are an object of numbers and texts");
    /* The macro of the library takes no pointer to const. */
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        bool fits = strlen(name) < sizeof out->fact[0].name &&
                    json_string_length(value) < sizeof out->fact[0].value;
        if (out->n == FACTS_MAX || !fits)
            return FAIL(ST_USAGE, "fact '%.40s' is one too many, or too long", name);
        if (json_is_number(value))
            facts_number(out, name, json_number_value(value));
        else if (json_is_string(value))
            facts_text(out, name, json_string_value(value));
        else
            return FAIL(ST_USAGE, "fact '%.40s' is neither a number nor a text", name);
    }
    return ST_OK;
}

Change fact_change(const Fact *a, const Fact *b)
{
    double x = 0, y = 0;
    CHECK(a != NULL || b != NULL);
    if (a == NULL)
        return CHANGE_NEW;
    if (b == NULL)
        return CHANGE_GONE;
    if (strcmp(a->value, b->value) == 0)
        return CHANGE_NONE;
    bool cost =
        number_of(a->value, &x) && number_of(b->value, &y) && strcmp(a->name, "params") != 0;
    return !cost ? CHANGE_OTHER : y > x ? CHANGE_WORSE : CHANGE_BETTER;
}
