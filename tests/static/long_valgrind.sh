#!/bin/sh
# long_valgrind.sh - gate: the tests under valgrind, which knows AVX2 but not AVX-512.
set -eu
command -v valgrind >/dev/null || { echo "skipped: no valgrind"; exit 0; }
isa=avx2
grep -qw avx2 /proc/cpuinfo || isa=base
LONGMIX_ISA=$isa OMP_NUM_THREADS=2 make -s LIMIT=14400 test \
    WRAP="valgrind --quiet --trace-children=yes --error-exitcode=99 --leak-check=no"
