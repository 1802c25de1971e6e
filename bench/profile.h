/* profile.h - named sweeps as data. */
#ifndef LONGMIX_PROFILE_H
#define LONGMIX_PROFILE_H

#include "bench/sweep.h"

/* A group in the words of the command line. */
typedef struct ProfileGroup {
    const char *variants, *levels, *passes, *impls, *n; /* variants NULL ends the list */
    double time_limit;                                  /* seconds a case; 0: the profile's */
    bool must;                                          /* never left out for the budget */
    bool watch;                                         /* ops of its cases are watched, too */
    const char *sizes;                                  /* names of sizes, or NULL */
} ProfileGroup;

typedef struct Profile {
    const char *name, *help; /* name NULL ends the table */
    const ProfileGroup *groups;
    int width, heads, layers;
    int64_t batch, segment;
    double time_limit, budget;
    const char *trained; /* variants that the trainings are of; NULL: all */
    Training training;
    const char *sizes; /* names of sizes, or NULL */
    /* > 0, of fwd, bwd and train: batch = max(1, tokens / n); of groups with sizes, and the others
     */
    int64_t model_tokens, step_tokens;
    unsigned fits;      /* as in Sweep */
    const char *on_gpu; /* the profile to take instead where there is a GPU, or NULL */
} Profile;

extern const Profile profile_table[];

/* Names of the profiles, ending in NULL. */
typedef struct ProfileNames {
    const char *name[9];
} ProfileNames;
ProfileNames profile_names(void);

/* What stands for it where there is a GPU; NULL: itself, or there is no such profile. */
const char *profile_on_gpu(const char *name);
/* Fills the sweep from a profile. ST_USAGE for an unknown name. */
Status profile_apply(const char *name, Sweep *s);

#endif
