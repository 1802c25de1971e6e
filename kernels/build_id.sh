#!/bin/sh
# build_id.sh - prints the C file behind kernels/build_id.h. Run from the top of the project.
# Usage: kernels/build_id.sh COMPILER FLAGS
#
# The commit is told beside the id and is no part of it: committing changes no code, and must not
# make a resumed sweep measure everything again.
set -eu
export LC_ALL=C
parts="kernels variants datasets report bench"

compiler=$($1 --version | head -n 1)
flags=$2
sources=$(find $parts -name "*.[ch]" -o -name "*.cu" -o -name "*.cuh" 2>/dev/null | sort)
id=$({ sha256sum $sources && echo "$compiler" "$flags"; } | sha256sum | cut -c 1-16)

commit=unknown
if [ -e .git ] && head=$(git rev-parse --short=12 --verify -q HEAD 2>/dev/null); then
    commit=$head
    [ -z "$(git --no-optional-locks status --porcelain -- $parts Makefile)" ] || commit=$head-dirty
fi

string() { # NAME TEXT
    printf 'const char longmix_%s[] = "%s";\n' "$1" "$(printf %s "$2" | sed 's/[\\"]/\\&/g')"
}
echo '#include "kernels/build_id.h"'
echo
string build_id "$id"
string git_commit "$commit"
string compiler "$compiler"
string flags "$flags"
