#!/bin/sh
# sanitizers.sh - gate: the tests under AddressSanitizer and UndefinedBehaviorSanitizer, but those
# that would take too long: a test file says so itself, by a "slow: ..." in its opening comment.
# (ThreadSanitizer and Criterion do not go together: see long_threads.sh.)
set -eu
quick=
for file in tests/test_*.c; do
    name=${file#tests/test_}
    head -n 12 "$file" | grep -q 'slow: ' || quick="$quick ${name%.c}"
done
export ASAN_OPTIONS="${ASAN_OPTIONS:-allocator_may_return_null=1}"
make -s SAN=address TESTS="$quick" binaries >/dev/null
make -s SAN=address LIMIT=1200 TESTS="$quick" test
