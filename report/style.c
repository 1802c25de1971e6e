/* style.c - one look a variant. Colours are those of Okabe and Ito (2008), made to be told apart by
 * colour-blind readers; their yellow is too pale for lines on white, so grey stands in for it.
 * A family shares its colour; point and dash tell its members apart. */
#include "report/style.h"

#include <string.h>

enum { CIRCLE = 7, SQUARE = 5, UP = 9, DOWN = 11, DIAMOND = 13, PENTAGON = 15 };

#define BLACK  "#000000"
#define GREY   "#7f7f7f"
#define BLUE   "#0072b2"
#define SKY    "#56b4e9"
#define GREEN  "#009e73"
#define ORANGE "#e69f00"
#define RED    "#d55e00"
#define PURPLE "#cc79a7"

#define SOLID    "1"
#define DASHED   "(12,5)"
#define DOTTED   "(3,4)"
#define DASH_DOT "(12,4,3,4)"

#define TRANSFORMER "Transformer"
#define GAU         "GAU, FLASH"
#define PRIMER      "Primer"
#define SCALING     "Scaling Transformers"
#define LSH         "Reformer, Terraformer"
#define LINEAR      "Linear methods"
#define OTHER       "Others"

static const struct {
    const char *name, *color;
    int point;
    const char *dash, *family;
} looks[] = {
    {"vanilla", BLACK, CIRCLE, SOLID, TRANSFORMER},
    {"transformer_pp", GREY, SQUARE, SOLID, TRANSFORMER},
    {"gau", BLUE, UP, SOLID, GAU},
    {"gau_alpha", BLUE, DOWN, DASHED, GAU},
    {"flash_linear", RED, DIAMOND, SOLID, GAU},
    {"primer", GREEN, PENTAGON, SOLID, PRIMER},
    {"primer_ez", GREEN, SQUARE, DASHED, PRIMER},
    {"primer_relu2", GREEN, UP, DOTTED, PRIMER},
    {"primer_dconv", GREEN, DOWN, DASH_DOT, PRIMER},
    {"scaling", ORANGE, SQUARE, SOLID, SCALING},
    {"scaling_ff", ORANGE, CIRCLE, DASHED, SCALING},
    {"scaling_qkv", ORANGE, UP, DOTTED, SCALING},
    {"scaling_loss", ORANGE, DIAMOND, DASH_DOT, SCALING},
    {"lsh", PURPLE, DOWN, SOLID, LSH},
    {"terraformer", PURPLE, CIRCLE, DASHED, LSH},
    {"linear", SKY, CIRCLE, SOLID, LINEAR},
    {"performer", SKY, SQUARE, DASHED, LINEAR},
    {"linformer", SKY, DIAMOND, DOTTED, LINEAR},
    {"aft", SKY, UP, DASH_DOT, LINEAR},
    {"local", GREY, UP, DASHED, OTHER},
    {"synthesizer", GREY, CIRCLE, DOTTED, OTHER},
    {"fnet", GREY, DIAMOND, DASH_DOT, OTHER},
    {"mlp_mixer", GREY, DOWN, DOTTED, OTHER},
    {"retention", RED, CIRCLE, DASHED, LINEAR},
    {"ssm", RED, UP, DOTTED, LINEAR},
    {"longconv", RED, SQUARE, DASH_DOT, LINEAR},
};

/* FNV-1a, 32 bits. */
static uint32_t hash(const char *s)
{
    uint32_t h = 2166136261u;
    for (; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

static Style fallback(const char *variant)
{
    static const char *const colors[] = {BLUE, SKY, GREEN, ORANGE, RED, PURPLE, GREY};
    static const int points[] = {CIRCLE, SQUARE, UP, DOWN, DIAMOND, PENTAGON};
    static const char *const dashes[] = {DASHED, DOTTED, DASH_DOT};
    uint32_t h = hash(variant);
    int point = points[h / COUNT(colors) % COUNT(points)];
    return (Style){colors[h % COUNT(colors)],
                   point,
                   point - 1,
                   dashes[h / (COUNT(colors) * COUNT(points)) % COUNT(dashes)],
                   COUNT(looks),
                   OTHER};
}

Style style_of(const char *variant)
{
    for (int i = 0; i < COUNT(looks); i++)
        if (strcmp(looks[i].name, variant) == 0)
            return (Style){looks[i].color, looks[i].point, looks[i].point - 1, looks[i].dash, i,
                           looks[i].family};
    return fallback(variant);
}
