/* build_id.h - what this program was built from. kernels/build_id.sh writes the definitions. */
#ifndef BUILD_ID_H
#define BUILD_ID_H

#ifdef __cplusplus
extern "C" {
#endif

/* 16 hex digits over the sources, the compiler and the flags: equal ids measure equal code. */
extern const char longmix_build_id[];
extern const char longmix_git_commit[]; /* short, with "-dirty" if changed since, or "unknown" */
extern const char longmix_compiler[];   /* first line of its --version */
extern const char longmix_flags[];      /* as given to it, warnings left out */

#ifdef __cplusplus
}
#endif
#endif
