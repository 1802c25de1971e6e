#!/bin/sh
# format.sh - gate: every source is as clang-format leaves it. `format.sh -i` rewrites them.
set -eu
command -v clang-format >/dev/null || { echo "skipped: no clang-format"; exit 0; }
find kernels variants datasets report bench tests -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' |
    sort | xargs clang-format ${1:---dry-run -Werror --ferror-limit=1}
