#!/bin/sh
# includes.sh - gate: who may include whom. Data moves one way, and so do the includes:
#   kernels: itself; variants: kernels; datasets, report: of kernels only base.h and build_id.h;
#   bench: all of these; tests: everything; nothing: tests.
# Paths are written from the top of the project, so that the rule can be read off them.
set -eu
find kernels variants datasets report bench tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' |
    sort | xargs awk '
    function bad(why) { printf "%s:%d: %s: %s\n", FILENAME, FNR, $0, why; failed = 1 }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, quoted, "\"")
        path = quoted[2]
        from = FILENAME; sub(/\/.*/, "", from)
        to = path; sub(/\/.*/, "", to)
        base = path == "kernels/base.h" || path == "kernels/build_id.h"
        if (path !~ /^(kernels|variants|datasets|report|bench|tests)\//)
            bad("write the path from the top of the project")
        else if (from == to || from == "tests")
            next
        else if (to == "tests")
            bad("only tests include tests")
        else if (from != "bench" && !(from == "variants" && to == "kernels") && !base)
            bad(from " must not know of " to)
    }
    END { exit failed }'
