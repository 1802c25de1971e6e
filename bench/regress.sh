#!/bin/sh
# regress.sh - is a program slower, larger or wrong? What depends on no clock against a file that is
# kept with the sources; times against a base, both built on this machine and run turn by turn.
# Usage: bench/regress.sh PROGRAM BASELINE [BASE [OPTION of `longmix compare`]...]
#
# BASE is a revision, a folder or a program. Empty: where this branch left origin/main or main; on
# those themselves the last commit, if something has changed since, or the one before it.
# Exit codes: 0 passed, 1 regressed, 2 broken surroundings, 3 too noisy to say.
set -u
program=$1
baseline=$2
base=${3:-}
shift 2
[ $# = 0 ] || shift

default_base() {
    head=$(git rev-parse HEAD) || return
    for main in origin/main main; do
        fork=$(git merge-base HEAD "$main" 2>/dev/null) || continue
        [ "$fork" = "$head" ] || { echo "$fork"; return; }
    done
    if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
        echo HEAD
    else
        echo HEAD~1
    fi
}

[ -n "$base" ] || base=$(default_base) || { echo "regress: no git here; say make regress BASE=..." >&2; exit 2; }

echo "== facts against $baseline"
"$program" baseline check "$baseline"
facts=$?
[ $facts != 1 ] || echo "If that is wanted: \`make baseline\`, and commit $baseline with the change."

echo
echo "== times against $base"
"$program" compare "$base" "$program" --facts show "$@"
times=$?

for code in 2 1 3; do
    [ $facts != $code ] && [ $times != $code ] || exit $code
done
[ $facts = 0 ] && [ $times = 0 ]
