#!/bin/sh
# run.sh - runs fuzzers one after the other; what they keep goes to a corpus beside the binary.
# Usage: tests/fuzz/run.sh SECONDS FUZZER...
set -eu
seconds=$1
shift
failed=
export ASAN_OPTIONS="${ASAN_OPTIONS:-allocator_may_return_null=1}"
for fuzzer in "$@"; do
    name=${fuzzer##*/}
    mkdir -p "$fuzzer.corpus"
    echo "-- fuzz $name, $seconds s"
    if "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="$fuzzer." "$fuzzer.corpus" \
        "tests/fuzz/seeds/$name" >"$fuzzer.log" 2>&1; then
        grep -E '^#[0-9]+[[:space:]]*DONE' "$fuzzer.log" || true
    else
        tail -n 40 "$fuzzer.log"
        failed="$failed $name"
    fi
done
echo "fuzzers: $#, failed:${failed:- none}"
test -z "$failed"
