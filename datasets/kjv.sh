#!/bin/sh
# kjv.sh OUT - writes the King James Bible to OUT as plain text, one verse a line (4.1 MB).
# The text is in the public domain and comes from Debian's bible-kjv package.
# Does nothing when OUT is complete already. Exit 2, with one line, when it cannot be made.
set -eu
export LC_ALL=C
verses=31102

fail()
{
    echo "kjv.sh: $*" >&2
    exit 2
}

whole()
{
    [ -f "$1" ] && [ "$(wc -l 2>/dev/null <"$1")" -eq "$verses" ]
}

[ $# -eq 1 ] || fail "usage: datasets/kjv.sh OUT"
out=$1
if [ -e "$out" ] && [ ! -f "$out" ]; then fail "$out is not a regular file"; fi
if whole "$out"; then exit 0; fi
command -v bible >/dev/null || fail "no 'bible' program: install bible-kjv, or use --data FILE"

tmp=$out.$$.tmp
trap 'rm -f "$tmp"' EXIT
trap 'exit 2' HUP INT TERM
mkdir -p "$(dirname "$out")" 2>/dev/null || fail "cannot make the folder of $out"
{ bible -f 'gen1:1-rev22:21' </dev/null | sed 's/^[^ ]* //' >"$tmp"; } 2>/dev/null ||
    fail "cannot write $tmp"
whole "$tmp" || fail "'bible' did not print $verses verses; is bible-kjv-text whole?"
mv -f "$tmp" "$out" 2>/dev/null || fail "cannot write $out"
