#!/bin/sh
# check_cuda.sh - what `make check-cuda` runs on a device: every kernel and every promise of every
# variant against float64 in float32, tf32 and bf16, twice for the same bits, and compute-sanitizer's
# four tools where it is installed. What it prints is kept in results/check_cuda.log.
# Usage: check_cuda.sh BUILD. Exit status 77: there is no device, and the reason on stdout.
set -u
build=$1
log=results/check_cuda.log
kernels="$build/emu_main cuda"
variants="$build/variants_main cuda"
why=$(LONGMIX_CUDA_MATH=float32 $kernels about 2>&1)
if [ $? != 0 ]; then
    echo "$why"
    case $why in
    *"of another build"*) exit 1 ;;
    *"not available"*) exit 77 ;;
    esac
    exit 1
fi
mkdir -p results
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT || exit 2
failed=

# WHAT COMMAND...: runs it and remembers what failed.
check() {
    what=$1
    shift
    echo "== $what"
    "$@" || { echo "FAILED: $what"; failed="$failed, $what"; }
}

# WHAT COMMAND...: prints the same twice, to the last digit.
same_twice() {
    what=$1
    shift
    "$@" >"$scratch/once" 2>&1
    "$@" >"$scratch/again" 2>&1
    check "the same bits twice: $what" cmp "$scratch/once" "$scratch/again"
}

sanitize() { # TOOL
    for math in float32 bf16; do
        export LONGMIX_CUDA_MATH=$math
        check "$1, kernels, $math" compute-sanitizer --tool "$1" --error-exitcode 9 $kernels small
        check "$1, variants, $math" compute-sanitizer --tool "$1" --error-exitcode 9 $variants table all
    done
}

everything() {
    echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    echo "commit: $(git describe --always --dirty 2>/dev/null || echo unknown)"
    echo "device: $why"
    nvidia-smi 2>/dev/null
    for math in float32 tf32 bf16; do
        export LONGMIX_CUDA_MATH=$math LONGMIX_CUDA_POISON=1
        check "kernels, $math" $kernels all
        check "variants, $math" $variants all all
        check "variants, $math: errors" $variants table all
        same_twice "kernels, $math" $kernels all
        same_twice "variants, $math" $variants quick all
    done
    unset LONGMIX_CUDA_POISON # memory that was never written must stay so for initcheck
    if command -v compute-sanitizer >/dev/null; then
        for tool in memcheck racecheck synccheck initcheck; do
            sanitize $tool
        done
    else
        echo "skipped: no compute-sanitizer"
    fi
    echo "failed:${failed:- none}"
}
everything >"$log" 2>&1
cat "$log"
echo "kept in $log"
tail -n 1 "$log" | grep -q '^failed: none$'
