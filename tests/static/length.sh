#!/bin/sh
# length.sh - gate: no function over 70 lines. Those over 40 are listed, as a hint.
set -eu
ctags --version 2>/dev/null | grep -q Universal || { echo "skipped: no universal-ctags"; exit 0; }
find kernels variants datasets report bench tests -name '*.[ch]' -o -name '*.cu' | sort |
    ctags -L - -x --language-force=C --kinds-C=f --fields=+e --_xformat='%{end} %n %F %N' |
    awk '
    { lines = $1 - $2 + 1 }
    lines > 40 { print $3 ":" $2 ": " $4 " has " lines " lines" (lines > 70 ? ": too long" : "") }
    lines > 70 { failed = 1 }
    END { exit failed }'
