/* origin.h - what a word of `longmix compare` stands for: a program, a folder, a revision, or
 * results. */
#ifndef LONGMIX_ORIGIN_H
#define LONGMIX_ORIGIN_H

#include "kernels/base.h"

typedef struct Origin {
    bool journal;   /* a file of results, else a program */
    char name[128]; /* as it was asked for */
    char path[4096];
} Origin;

/* In this order: a file that begins like a journal; a program; a folder with the program longmix in
 * it, or with a Makefile, which is made (build/longmix of it then); a git revision of the project
 * around the current folder, which is unpacked into build/compare/COMMIT and made there unless it
 * was before. Fails: ST_USAGE with what the word is not, or that it does not build. */
Status origin_find(const char *word, Origin *out);

#endif
