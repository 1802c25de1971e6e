/* fact.h - named quantities that are equal or not, whatever the clock says. */
#ifndef LONGMIX_FACT_H
#define LONGMIX_FACT_H

#include "kernels/base.h"

struct json_t;

/* A number, as %.17g, or a text such as a hash. */
typedef struct Fact {
    char name[32], value[72];
} Fact;

enum { FACTS_MAX = 40 };
typedef struct Facts {
    int n;
    Fact fact[FACTS_MAX];
} Facts;

void facts_number(Facts *f, const char *name, double value);
void facts_text(Facts *f, const char *name, const char *value);
const Fact *facts_find(const Facts *f, const char *name); /* NULL: there is none */

/* As a JSON object, numbers as numbers; and back. NULL when memory is short; ST_USAGE for what is
 * no object of numbers and texts. */
struct json_t *facts_json(const Facts *f);
Status facts_parse(const struct json_t *object, Facts *out);

typedef enum Change {
    CHANGE_NONE,
    CHANGE_NEW,    /* only B has it */
    CHANGE_GONE,   /* only A has it */
    CHANGE_BETTER, /* a smaller number */
    CHANGE_WORSE,  /* a larger number: all of them are costs */
    CHANGE_OTHER,  /* another text, or parameters, of which neither more nor fewer is better */
    CHANGES
} Change;
extern const char *const change_names[CHANGES + 1]; /* "same", "new", ... */

/* What became of a fact; a or b may be NULL, not both. */
Change fact_change(const Fact *a, const Fact *b);

#endif
