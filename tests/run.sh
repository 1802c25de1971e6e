#!/bin/sh
# run.sh - runs test binaries one after another, each in a process of its own under a time limit.
# Usage: tests/run.sh SECONDS WRAPPER BINARY...
#
# Goes on after a failure. The last line is the sum: "N passed, N failed". A binary that crashes,
# runs out of time, tests nothing or makes valgrind or a sanitizer complain is a failure too.
set -u
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}" # idle threads soon sleep: the cores may be shared
limit=$1
wrapper=$2
shift 2
log=$(mktemp) && trap 'rm -f "$log" "$log.status"' EXIT || exit 2

passed=0
failed=0
broken=
for binary in "$@"; do
    echo "-- ${binary##*/test_}"
    { timeout -k 10 "$limit" $wrapper "$binary" 2>&1; echo $? >"$log.status"; } | tee "$log"
    status=$(cat "$log.status")

    counts=$(sed -n 's/.*Tested: \([0-9]*\) | Passing: \([0-9]*\) .*/\1 \2/p' "$log" | tail -n 1)
    [ -n "$counts" ] || counts="0 0"
    good=${counts#* }
    bad=$((${counts% *} - good))
    why=
    [ "$good" != 0 ] || why="no test passed"
    [ "$status" = 0 ] || why="exit status $status"
    [ "$status" != 124 ] || why="no end within $limit s"
    ! grep -q '^==[0-9]*==' "$log" || why="reports above" # Criterion sees no leak, for one
    if [ "$bad" = 0 ] && [ -n "$why" ]; then
        bad=1
        echo "$binary: $why"
    fi
    passed=$((passed + good))
    [ "$bad" = 0 ] || broken="$broken ${binary##*/test_}"
    failed=$((failed + bad))
done

[ -z "$broken" ] || echo "failed:$broken"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
