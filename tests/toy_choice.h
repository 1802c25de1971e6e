/* toy_choice.h - a mixer with a discrete decision, for testing how choices are kept and replayed.
 */
#ifndef LONGMIX_TESTS_TOY_CHOICE_H
#define LONGMIX_TESTS_TOY_CHOICE_H

#include "variants/template/mixer.h"

/* y_i = (q_i . k_j) v_j with j <= i the position whose key is most like q_i, or with an
 * odd seed least like it; the first on ties. */
extern const Variant toy_choice;

#endif
