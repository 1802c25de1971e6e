/* options.c - the option strings of variants. Whatever is accepted lies in its range. */
#include "tests/fuzz/input.h"
#include "variants/template/mixer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = input_text(data, size);
    for (const Variant *const *v = variant_table; *v != NULL; v++) {
        const Option *options = (*v)->mixer->options;
        double value[MIX_MAX_OPTIONS];
        for (int i = 0; i < option_count(options); i++)
            value[i] = options[i].value;
        if (option_parse(options, text, value) != ST_OK)
            continue;
        for (int i = 0; i < option_count(options); i++)
            CHECK(value[i] >= options[i].lo && value[i] <= options[i].hi);
    }
    free(text);
    return 0;
}
