/* safetensors.c - files of tensors. All that an open file lends out can be read. */
#include "datasets/safetensors.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    StFile f;
    if (st_open(input_file(data, size), &f) != ST_OK)
        return 0;
    unsigned sum = 0;
    for (int i = 0; i < f.n_tensors; i++) {
        const uint8_t *bytes = f.tensor[i].data;
        CHECK(st_find(&f, f.tensor[i].name) != NULL);
        for (size_t k = 0; k < f.tensor[i].size; k++)
            sum += bytes[k];
    }
    (void)!st_check_finite(&f);
    (void)st_meta(&f, "format");
    st_close(&f);
    return sum == 0xffffffffu;
}
