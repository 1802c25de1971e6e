#!/bin/sh
# cuda.sh - gate, where nvcc is: what can be known of the CUDA sources without a GPU.
#   They compile without a warning for sm_80, 90, 100, 120 and as PTX; no kernel of ours (CUB brings
#   its own) spills or uses local memory; every kernel of the table cuda_kernels.txt is there and no other, needs no more
#   registers and finds room for no fewer blocks (computed) than the table says, has tensor-core and
#   asynchronous copy instructions where the table says so, which is wherever the source asks for
#   them; the tests on the emulator launch each; the constants that the emulator copies are those
#   of the real headers.
# `cuda.sh -u` writes the table anew. CUDA_ARCHS="80 90": only these. A source is compiled again
# only when it, a header or nvcc has changed; what nvcc said stands in build/static_cuda/NAME/log.
set -eu
nvcc=$(make -s print-nvcc)
[ -n "$nvcc" ] || { echo "skipped: no nvcc"; exit 0; }
include=${nvcc%/bin/nvcc}/include
archs=${CUDA_ARCHS:-80 90 100 120}
dir=build/static_cuda
table=tests/static/cuda_kernels.txt
flags="-std=c++20 -O3 -I. -Werror all-warnings -DLONGMIX_CUDA_NAME=\"cuda\"
       -Xcompiler -Wall,-Wextra,-Wno-missing-field-initializers,-Werror,-fPIC"
for a in $archs; do flags="$flags -gencode arch=compute_$a,code=sm_$a"; done
flags="$flags -gencode arch=compute_${archs##* },code=compute_${archs##* }"
mkdir -p $dir
failed=0
complain() {
    echo "$*"
    failed=1
}

# ---- compile: build/static_cuda/NAME has log, PTX and a cubin for each architecture ----
release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
headers=$(cat kernels/cuda/*.cuh kernels/*.h | cksum)
# The dear ones first, so that both cores stay busy to the end.
sources=$(grep -l 'tile.cuh\|pairs_kernel.cuh\|chunks.cuh' kernels/cuda/*.cu
          grep -L 'tile.cuh\|pairs_kernel.cuh\|chunks.cuh' kernels/cuda/*.cu)
for source in $sources; do
    key="$(cksum <"$source") $headers $release $flags"
    name=$(basename "$source" .cu)
    [ "$(cat $dir/$name/key 2>/dev/null)" = "$key" ] && continue
    rm -rf $dir/$name
    mkdir -p $dir/$name
    echo "$key" >$dir/$name/key.new
    echo "$source $dir/$name"
done >$dir/jobs
nvcc=$nvcc flags=$flags xargs -r -P "$(nproc)" -L 1 sh -c '
    "$nvcc" $flags -Xptxas -v --keep --keep-dir "$2" -c "$1" -o "$2/object" >"$2/log" 2>&1 || {
        grep -v "^ptxas info\|^ *[0-9]* bytes stack" "$2/log"
        exit 1
    }
    find "$2" ! -name "*.cubin" ! -name "*.ptx" ! -name "log" ! -name "key*" -type f -delete
    mv "$2/key.new" "$2/key"' cuda <$dir/jobs || { echo "see above"; exit 1; }

# ---- registers, spills and local memory, as ptxas tells them ----
for source in $sources; do
    cat $dir/$(basename "$source" .cu)/log
done | awk -v spills=$dir/spills '
    BEGIN { printf "" >spills }
    /Compiling entry function/ {
        split($0, quoted, "\047")
        kernel = quoted[2]
        arch = substr(quoted[4], 4)
    }
    kernel ~ /3cub/ { next }
    /bytes stack frame/ && !/^ *0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads/ {
        print kernel " on sm_" arch ": " $0 >spills
    }
    match($0, /Used [0-9]+ registers/) {
        split(substr($0, RSTART, RLENGTH), used, " ")
        print kernel, arch, used[2]
    }' >$dir/registers
[ ! -s $dir/spills ] || complain "local memory: $(c++filt <$dir/spills)"

# ---- what the emulator has launched ----
make -s build/emu-plain/emu_main >/dev/null
rm -f $dir/offsets
for math in float32 tf32 bf16; do
    EMU_LAUNCHES=$dir/offsets LONGMIX_CUDA_MATH=$math OMP_NUM_THREADS=1 \
        build/emu-plain/emu_main emu small >$dir/emulated || complain "the emulated kernels fail"
done
nm build/emu-plain/liblongmix_emu.so | awk '
    NR == FNR { if ($2 ~ /[tTwW]/) names[$1] = names[$1] " " $3; next }
    { n = split(names[$1], name, " "); for (i = 1; i <= n; i++) print name[i], $2, $3 }' \
    - $dir/offsets | sort -u >$dir/launches

# ---- the table ----
g++ -std=c++20 -O1 -w -I"$include" tests/static/cuda_kernels.cc -o $dir/cuda_kernels
cubins=
for source in $sources; do
    for cubin in $dir/$(basename "$source" .cu)/*.cubin; do
        arch=${cubin##*compute_}
        cubins="$cubins ${arch%%.*}:$cubin"
    done
done
$dir/cuda_kernels $dir/launches $dir/registers $cubins | grep -v '^cub::' | sort >$dir/now
if [ "${1:-}" = -u ]; then
    {
        echo "# By tests/static/cuda.sh -u with nvcc $release. Of each kernel: threads of a block and bytes of shared"
        echo "# memory, the most that tests on the emulator launch; registers and blocks that a multiprocessor holds"
        echo "# at once (computed) by architecture; T tensor-core instructions, A asynchronous copies."
        cat $dir/now
    } >$table
fi
[ -e $table ] || { complain "no $table: tests/static/cuda.sh -u writes it"; table=/dev/null; }
awk -v release="$release" -v archs="$archs" '
    function bad(why) { print why; failed = 1 }
    FILENAME == ARGV[1] && /^#/ { if ($0 ~ "with nvcc " release "[.]") same = 1; next }
    FILENAME == ARGV[1] { was[$1] = $0; next }
    { now[$1] = $0 }
    $2 == 0 { bad($1 ": no test on the emulator launches it") }
    $NF ~ /L/ { bad($1 ": uses local memory") }
    $1 ~ /[<,](tf32|bf16)[,>]/ && $NF !~ /T/ { bad($1 ": no tensor-core instructions") }
    !($1 in was) { bad($1 ": not in the table: tests/static/cuda.sh -u"); next }
    {
        split(was[$1], old)
        n = split(was[$1], field)
        if (field[n] ~ /T/ && $NF !~ /T/) bad($1 ": has lost its tensor-core instructions")
        if (field[n] ~ /A/ && $NF !~ /A/) bad($1 ": has lost its asynchronous copies")
        if ($3 > old[3]) bad($1 ": " $3 " bytes of shared memory, in the table " old[3])
        for (i = 4; i < n; i++) { split(field[i], f, /[:\/]/); regs[f[1]] = f[2]; blocks[f[1]] = f[3] }
        for (i = 4; i < NF; i++) {
            split($i, f, /[:\/]/)
            if (!same) continue
            if (f[2] > regs[f[1]]) bad($1 " on sm_" f[1] ": " f[2] " registers, in the table " regs[f[1]])
            if (f[3] < blocks[f[1]]) bad($1 " on sm_" f[1] ": " f[3] " blocks, in the table " blocks[f[1]])
        }
        if (NF - 4 != split(archs, a)) bad($1 ": not built for every architecture: " $0)
    }
    END {
        for (k in was) if (!(k in now)) bad(k ": is in the table, but not in the sources")
        if (!same) print "the table is of another nvcc: registers and occupancy are not compared"
        exit failed
    }' $table $dir/now || failed=1

# ---- the same instructions by name, in the PTX of what computes in tf32 and bf16 ----
for ptx in $(grep -l 'entry.*L4Math2E' $dir/*/*.ptx); do
    for word in mma.sync.aligned.m16n8k16.*bf16 mma.sync.aligned.m16n8k8.*tf32 \
        cp.async.c[ag].shared.global cp.async.wait_group; do
        grep -q "$word" "$ptx" || complain "$ptx: no $word"
    done
done

# ---- what the fakes copy: every enumerator by its value, every function by its type ----
cat tests/cuda_emu/api.h tests/cuda_emu/include/*.h | grep -v '^#' | tr '\n' ' ' |
    sed -E 's:/\*([^*]|\*[^/])*\*/::g; s/  +/ /g' >$dir/fakes
{
    grep -o 'enum [^{;]*{[^}]*}' $dir/fakes | sed 's/.*{//; s/}//' | tr ',' '\n' | awk 'NF {
        if ($2 != "=" || NF != 3) print "#error " $1 " has no value in the fake"
        else print "SAME(" $1 ", " $3 ");"
    }'
    grep -oE '(cudaError_t|cublasStatus_t|curandStatus_t|const char \*) ?(cuda|cublas|curand)[A-Za-z0-9]+\([^)]*\);' \
        $dir/fakes | sed -E 's/ = [^,)]*//g; s/^(.*[ *])([a-zA-Z0-9]+)(\(.*);$/[[maybe_unused]] static \1(*const take_\2)\3 = \2;/'
} >$dir/fakes.inc
"$nvcc" -std=c++20 -I. -I$dir -Werror all-warnings -c tests/cuda_emu/real_headers.cu -o $dir/real.o ||
    complain "a fake differs from the real header"

echo "kernels: $(wc -l <$dir/now), architectures: $archs, constants: $(grep -c SAME $dir/fakes.inc)," \
    "functions: $(grep -c take_ $dir/fakes.inc)"
exit $failed
