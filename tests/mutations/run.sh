#!/bin/sh
# run.sh - plants every bug of this folder in a copy of the tree, one at a time: a test must fail.
# Usage: tests/mutations/run.sh BUILD [NAME...], from the top of the project; BUILD has the objects
# to start from. Stops a bug's suites at the first failure, lists the survivors, and ends with "N
# bugs, N caught, N survived, N broken". A patch that no longer applies or builds is broken.
#
# NAME.patch begins with "Bug: what it is" and "Tests: the suites that should see it"; battery:gau is
# the battery on that variant alone.
set -u
build=$1
shift
top=$PWD
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT || exit 2
trap 'exit 130' INT TERM
tree=$scratch/tree
limit=300 # seconds for a suite: a bug may keep it from ending
[ $# -gt 0 ] || set -- $(cd tests/mutations && ls ./*.patch | sed 's,^\./,,; s,\.patch$,,')

field()
{
    sed -n "s/^$1: //p" "$top/tests/mutations/$2.patch"
}

# Objects keep their times, so that only what a bug touches is built.
copy_tree()
{
    mkdir -p "$tree/$build" &&
        cp -pR Makefile kernels variants datasets report bench tests "$tree" &&
        for part in obj flags variants_table.c build_id.c; do
            [ ! -e "$build/$part" ] || cp -pR "$build/$part" "$tree/$build" || return 1
        done
}

# Builds the suites that are named; what went wrong is in the log.
make_suites()
{
    targets=
    for suite in "$@"; do
        targets="$targets $build/tests/test_${suite%%:*}"
    done
    (cd "$tree" && make -s SETUP=: $targets) >"$scratch/log" 2>&1
}

run_suite()
{
    only=
    [ "${1#*:}" = "$1" ] || only=LONGMIX_VARIANT=${1#*:}
    (cd "$tree" && env GOMP_SPINCOUNT=1000 $only \
        timeout -k 10 "$limit" "$build/tests/test_${1%%:*}" --fail-fast) >"$scratch/log" 2>&1
}

# The line that says most of what failed.
reason()
{
    grep -m 1 -E '(error|allowed) .*allowed|CRASH|FAIL' "$scratch/log" | cut -c 1-110
}

try()
{
    for suite in $(field Tests "$1"); do
        make_suites "$suite" || return 2
        run_suite "$suite"
        status=$?
        [ "$status" != 0 ] || continue
        why=$(reason | sed 's/^\[[-A-Z]*\] *//')
        [ "$status" != 124 ] || why="no end within $limit s"
        echo "caught    $1, by $suite: $why"
        return 0
    done
    return 1
}

all=$(for name in "$@"; do field Tests "$name"; done | tr ' ' '\n' | sort -u)
copy_tree || exit 2
make_suites $all || { tail "$scratch/log"; echo "the copy does not build"; exit 2; }
for suite in $all; do
    run_suite "$suite" || { tail "$scratch/log"; echo "$suite fails without any bug"; exit 2; }
done

caught=0
survivors=
broken=
for name in "$@"; do
    patch=$top/tests/mutations/$name.patch
    if ! (cd "$tree" && patch -p1 -s -F0 --dry-run <"$patch") >"$scratch/log" 2>&1; then
        echo "broken    $name: does not apply"
        broken="$broken $name"
        continue
    fi
    (cd "$tree" && patch -p1 -s -F0 --no-backup-if-mismatch <"$patch")
    try "$name"
    case $? in
    0) caught=$((caught + 1)) ;;
    1)
        echo "SURVIVED  $name: $(field Bug "$name")"
        survivors="$survivors $name"
        ;;
    *)
        echo "broken    $name: does not build: $(grep -m 1 -E 'error|Error' "$scratch/log")"
        broken="$broken $name"
        ;;
    esac
    (cd "$tree" && patch -p1 -s -R -F0 --no-backup-if-mismatch <"$patch") || exit 2
done

[ -z "$survivors" ] || echo "survivors:$survivors"
[ -z "$broken" ] || echo "broken:$broken"
echo "$# bugs, $caught caught, $(echo $survivors | wc -w) survived, $(echo $broken | wc -w) broken"
[ -z "$survivors$broken" ]
