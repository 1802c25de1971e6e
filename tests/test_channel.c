/* test_channel.c - channel mixers with options, carried state, choices and draws: a toy that has
 * them all, under every law and in detail. */
#include "tests/law.h"
#include "tests/toy_channel.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

Test(channel, the_toy_obeys_every_law)
{
    for (int i = 0; i < n_laws; i++)
        if (law_off(&laws[i], &toy_channel) == NULL) {
            double error = laws[i].measure(&toy_channel);
            cr_expect(error <= laws[i].bound, "%s: %g", laws[i].name, error);
        }
}

Test(channel, its_capabilities_are_the_variants)
{
    unsigned caps = variant_caps(&toy_channel);
    cr_expect((caps & CAP_CHOICES) && (caps & CAP_DRAWS) && (caps & CAP_STATEFUL));
    cr_expect(!(caps & CAP_BIDIRECTIONAL));
    MixCtx c = {.batch = 1, .q_len = 4, .cap = 4, .width = 8, .heads = 2};
    cr_assert_eq(mix_options(&toy_channel, NULL, &c), ST_OK);
    cr_expect_eq(mix_accepts(&toy_channel, &c), ST_UNSUPPORTED, "not bidirectionally");
    c.causal = true;
    cr_expect_eq(mix_accepts(&toy_channel, &c), ST_OK);
    c.width = 1;
    c.heads = 1;
    Variant v = toy_channel;
    Mixer m = *v.mixer;
    m.accepts = NULL;
    v.mixer = &m;
    cr_expect_eq(mix_accepts(&v, &c), ST_SHAPE);
    cr_expect_not_null(strstr(status_reason(), "2 columns"), "%s", status_reason());
}

Test(channel, its_options_stand_beside_the_mixers)
{
    MixCtx c = {.width = 8, .heads = 2};
    cr_assert_eq(mix_options(&toy_channel, NULL, &c), ST_OK);
    cr_expect(c.ffn_opt[0] == 1 && c.opt[0] == 1, "the recipe sets lift to 1");
    cr_assert_eq(mix_options(&toy_channel, "rope_half=0 lift=3", &c), ST_OK);
    cr_expect(c.ffn_opt[0] == 3 && c.opt[0] == 0);
    cr_expect_eq(mix_options(&toy_channel, "lift=4", &c), ST_USAGE);
    cr_expect_eq(mix_options(&toy_channel, "lifts=1", &c), ST_USAGE);
    cr_expect_not_null(strstr(status_reason(), "rope, lift"), "%s", status_reason());
    cr_expect_str_eq(variant_option_at(&toy_channel, 4)->name, "lift");
    cr_expect_null(variant_option_at(&toy_channel, 5));
    *variant_option_value(&toy_channel, &c, 4) = 2;
    cr_expect_eq(c.ffn_opt[0], 2);
}

Test(channel, option_names_are_unique_in_every_variant)
{
    for (int v = 0; variant_table[v] != NULL; v++) {
        const Option *a, *b;
        for (int i = 0; (a = variant_option_at(variant_table[v], i)) != NULL; i++)
            for (int j = 0; j < i && (b = variant_option_at(variant_table[v], j)) != NULL; j++)
                cr_expect_str_neq(a->name, b->name, "%s", variant_table[v]->name);
    }
}

Test(channel, its_state_follows_the_mixers)
{
    BlockSlot slot[BLOCK_MAX_STATE];
    MixCtx c = {.batch = 3, .q_len = 4, .cap = 4, .width = 8, .heads = 2, .causal = true};
    cr_assert_eq(block_state(&toy_channel, &c, slot), 3);
    cr_expect_str_eq(slot[0].name, "state.k");
    cr_expect_str_eq(slot[2].name, "ffn_state.before");
    cr_expect(slot[2].slot.dim[0] == 3 && slot[2].slot.dim[1] == 1 && slot[2].slot.dim[2] == 8);
}

static Setting training(int64_t step)
{
    Setting s = setting_small(&toy_channel, "ref");
    s.training = true;
    s.step = step;
    s.blocks = 2;
    return s;
}

static double *output(const Setting *s, Tensor *noise)
{
    Stand r;
    stand_open(&r, s);
    r.m.ctx.ffn_draw[0] = noise;
    double *y = room(stand_size(&r));
    stand_forward(&r, y);
    stand_close(&r);
    return y;
}

Test(channel, draws_change_with_the_step_and_only_in_training)
{
    Setting a = training(0), b = training(1), c = training(0), d = training(1);
    c.training = d.training = false;
    double *y[] = {output(&a, NULL), output(&a, NULL), output(&b, NULL), output(&c, NULL),
                   output(&d, NULL)};
    int64_t n = a.batch * a.len * a.width;
    cr_expect_eq(worst(y[1], y[0], n), 0, "a step draws the same again");
    cr_expect_gt(worst(y[2], y[0], n), 1e-3, "another step draws otherwise");
    cr_expect_gt(worst(y[3], y[0], n), 1e-3);
    cr_expect_eq(worst(y[4], y[3], n), 0, "evaluation draws nothing");
    for (int i = 0; i < COUNT(y); i++)
        free(y[i]);
}

Test(channel, layers_and_draws_have_streams_of_their_own)
{
    MixCtx c = {.seed = 7, .step = 3, .training = true};
    MixIn in = {NULL, NULL, &c, 5}, next = {NULL, NULL, &c, 6};
    RngAt a = mix_rng(&in, 0), b = mix_rng(&in, 1), d = mix_rng(&next, 0);
    cr_expect(a.stream != b.stream && a.stream != d.stream && b.stream != d.stream);
    cr_expect(a.seed == 7 && a.offset == (uint64_t)3 << 36);
    c.training = false;
    cr_expect_eq(mix_rng(&in, 0).offset, 0);
}

Test(channel, draws_can_be_given)
{
    Dev *d;
    Tensor noise;
    Setting s = training(4);
    const int64_t dim[] = {s.batch, s.len};
    cr_assert(dev_open(&d, "ref", 0, 0) == ST_OK &&
              tensor_new(d, &noise, REAL, MEM_INPUT, 2, dim) == ST_OK);
    cr_assert_eq(tensor_fill(d, &noise, 0.0), ST_OK);
    double *y = output(&s, &noise);
    s.training = false;
    double *z = output(&s, NULL);
    cr_expect_eq(worst(y, z, s.batch * s.len * s.width), 0, "no noise is what evaluation has");
    free(y);
    free(z);
    tensor_free(d, &noise);
    dev_close(d);
}
