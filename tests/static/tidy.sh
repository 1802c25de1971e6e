#!/bin/sh
# tidy.sh - gate: clang-tidy with .clang-tidy over the program's sources (not over the tests).
# A source that passed is looked at again only when it, a header or .clang-tidy changed. How the
# analyzer came to a finding stands in build/tidy/NAME.log.
set -eu
command -v clang-tidy >/dev/null || { echo "skipped: no clang-tidy"; exit 0; }
passed=build/tidy
mkdir -p $passed
newest=$(ls -t .clang-tidy $(find kernels variants datasets report bench -name '*.h') | head -n 1)

find kernels variants datasets report bench -name '*.c' | sort | while read -r source; do
    stamp=$passed/$(echo "$source" | tr / _)
    [ "$stamp" -nt "$source" ] && [ "$stamp" -nt "$newest" ] || echo "$source $stamp"
done | xargs -r -P "$(nproc)" -L 1 sh -c '
    flags="-std=c11"
    case $1 in kernels/cpu/*) flags="-std=gnu11 -mavx2 -mfma -mbmi2 -mf16c -DCPU_ISA=avx2" ;; esac
    for dir in /usr/include/*/openblas-openmp /usr/include/openblas; do
        [ ! -d "$dir" ] || flags="$flags -isystem $dir"
    done
    if clang-tidy --quiet "$1" -- $flags -I. -D_POSIX_C_SOURCE=200809L -fopenmp >"$2.log" 2>&1; then
        mv "$2.log" "$2"
    else
        grep -A 2 "error:" "$2.log" || cat "$2.log"
        exit 1
    fi' tidy
