#!/bin/sh
# long_cuda.sh - gate: the whole product on the emulator: every kernel and every promise of every
# variant, in float32, tf32 and bf16, under the schedules 0, 1, 2, 3, 5, 7 and 9, plain, under
# AddressSanitizer with UndefinedBehaviorSanitizer, and under ThreadSanitizer as a race checker
# (which sees races in one schedule as in another: schedule 0). Hours on two cores; VARIANTS="gau"
# MATHS="bf16" ORDERS="0 3" BUILDS="asan" take a part.
set -u
export OMP_NUM_THREADS=1 LONGMIX_CUDA_POISON=1
export ASAN_OPTIONS=detect_leaks=0:exitcode=66 TSAN_OPTIONS=exitcode=66
builds=${BUILDS:-plain asan tsan}
programs=
for build in $builds; do
    programs="$programs build/emu-$build/emu_main build/emu-$build/variants_main"
done
make -s $programs >/dev/null || exit 1
for build in $builds; do
    for math in ${MATHS:-float32 tf32 bf16}; do
        for order in ${ORDERS:-0 1 2 3 5 7 9}; do
            [ "$build" != tsan ] || [ "$order" = 0 ] || continue
            guard=$([ "$build" = plain ] && echo 1 || echo 0)
            settings="LONGMIX_CUDA_MATH=$math EMU_ORDER=$order EMU_LAZY=1 EMU_GUARD=$guard"
            echo "$settings build/emu-$build/emu_main emu all"
            for variant in ${VARIANTS:-$(basename -s .c variants/*.c)}; do
                echo "$settings build/emu-$build/variants_main emu all $variant"
            done
        done
    done
done | xargs -P "$(nproc)" -I LINE sh -c '
    out=$(env LINE 2>&1) && exit 0
    echo "FAILED: LINE"
    echo "$out" | grep -v "^ok"
    exit 1'
