/* text.c - corpora: any bytes. Samples and windows stay inside their part of the text. */
#include "datasets/text.h"
#include "datasets/entropy.h"
#include "tests/fuzz/input.h"

enum { BATCH = 3, LEN = 17 };

static void batches(const Text *t, TextSplit split)
{
    int32_t inputs[BATCH * LEN], targets[BATCH * LEN];
    TextShape shape = {split, BATCH, LEN};
    size_t windows = text_n_windows(t, split, LEN);
    if (text_sample(t, shape, 7, t->size, inputs, targets) == ST_OK)
        for (int i = 0; i < BATCH * LEN; i++)
            CHECK(inputs[i] >= 0 && inputs[i] < TEXT_VOCAB && targets[i] >= 0);
    if (windows >= BATCH)
        CHECK(text_windows(t, shape, windows - BATCH, inputs, targets) == ST_OK);
    CHECK(text_windows(t, shape, windows, inputs, targets) == ST_SHAPE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Text t;
    double bits;
    if (text_load(input_file(data, size), &t) == ST_OK) {
        for (int split = 0; split < N_TEXT_SPLITS; split++)
            batches(&t, (TextSplit)split);
        text_free(&t);
    }
    if (entropy_order(data, size, 1, &bits) == ST_OK)
        CHECK(bits >= 0 && bits <= 8);
    return 0;
}
