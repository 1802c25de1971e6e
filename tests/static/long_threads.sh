#!/bin/sh
# long_threads.sh - gate: tests/tsan_main.c, a plain main, under ThreadSanitizer. With clang, whose
# OpenMP tells the sanitizer of its barriers; gcc's does not, and all would be false alarms.
set -eu
[ -e tests/tsan_main.c ] || { echo "skipped: no tests/tsan_main.c"; exit 0; }
command -v clang >/dev/null || { echo "skipped: no clang"; exit 0; }
make -s SAN=thread CC=clang build/tsan/tests/tsan_main
TSAN_OPTIONS="ignore_noninstrumented_modules=1 ${TSAN_OPTIONS:-}" build/tsan/tests/tsan_main
