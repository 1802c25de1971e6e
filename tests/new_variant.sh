#!/bin/sh
# new_variant.sh - adds a variant to a copy of the tree, by one file, and wants to see it everywhere:
# in the list, in the battery, in a sweep, in the report and in a plot.
# Usage: tests/new_variant.sh BUILD COPY, from the top of the project; objects come from BUILD.
set -eu
unset BXFI_MAP # or the battery takes itself for a child of the test that runs this
build=$1
copy=$2
name=toy_begun

mkdir -p "$copy/$build"
cp -pR Makefile kernels variants datasets report bench tests "$copy"
for part in obj flags variants_table.c build_id.c; do
    cp -pR "$build/$part" "$copy/$build"
done
cd "$copy"

refused()
{
    if make -s SETUP=: new-variant "NAME=$1" 2>said || ! grep -q "$2" said; then
        echo "new-variant NAME='$1' should be refused with '$2', not: $(cat said)"
        exit 1
    fi
}
refused "" "which name"
refused "Foo" "no name"
refused "../x" "no name"
refused gau "already"
make -s SETUP=: new-variant NAME=$name
make -s SETUP=: "$build/longmix" "$build/tests/test_battery" >built 2>&1 || { cat built; exit 1; }
[ "$(grep -c '  cc .*variants/' built)" = 1 ] || { cat built; echo "more than its file was built"; }

seen()
{
    grep -q "$1" "$2" || { echo "no '$1' in $2:"; head -c 2000 "$2"; exit 1; }
}
export LONGMIX="$build/longmix" GOMP_SPINCOUNT=1000
"$build/longmix" list >list
seen "^$name\$" list
LONGMIX_VARIANT=$name "$build/tests/test_battery" >battery 2>&1 || { tail -20 battery; exit 1; }
seen "^$name .*gradients = differences.*allowed" battery
"$build/longmix" bench --variants "$name,vanilla" --n 64,128 --width 32 --heads 2 --pass fwd \
    --time-limit 0.2 --threads 1 --out rows.jsonl >/dev/null 2>said || { cat said; exit 1; }
seen "\"variant\":\"$name\".*\"status\":\"ok\"" rows.jsonl
"$build/longmix" report rows.jsonl --out RESULTS.md --plots plots >/dev/null 2>said ||
    { cat said; exit 1; }
seen "$name" RESULTS.md
seen "$name" plots/time-per-token.gp
[ -s plots/time-per-token.svg ] && seen "$name" plots/time-per-token.svg
