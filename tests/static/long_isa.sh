#!/bin/sh
# long_isa.sh - gate: the tests on every instruction set that this machine has.
set -eu
failed=0
for isa in base avx2 avx512; do
    flag=$(echo $isa | sed 's/base/sse2/; s/avx512/avx512vl/')
    grep -qw "$flag" /proc/cpuinfo || { echo "skipped: no $isa here"; continue; }
    echo "-- LONGMIX_ISA=$isa"
    LONGMIX_ISA=$isa make -s LIMIT=3600 test || failed=1
done
exit $failed
