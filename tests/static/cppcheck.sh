#!/bin/sh
# cppcheck.sh - gate: cppcheck over the program's sources. Justified exceptions stand in the source,
# as a comment "cppcheck-suppress NAME". Off are four that misread C here; gcc, clang-tidy and the
# sanitizers look for the same: an array filled in a loop (uninitvar), a struct whose address went to
# a function (returnDanglingLifetime), an optional pointer (nullPointerArithmeticRedundantCheck), an
# enumerator of value 0 as an argument (ctunullpointer).
set -eu
command -v cppcheck >/dev/null || { echo "skipped: no cppcheck"; exit 0; }
mkdir -p build/cppcheck
cppcheck --quiet --error-exitcode=1 -j "$(nproc)" --cppcheck-build-dir=build/cppcheck \
    --std=c11 --platform=unix64 --enable=warning,performance,portability --inline-suppr \
    --suppress=missingIncludeSystem --suppress=uninitvar --suppress=returnDanglingLifetime \
    --suppress=nullPointerArithmeticRedundantCheck --suppress=ctunullpointer -I. -D_POSIX_C_SOURCE=200809L -DCPU_ISA=base \
    kernels variants datasets report bench
