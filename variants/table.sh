#!/bin/sh
# table.sh - prints the table of all variants: one entry for every variants/NAME.c, sorted by name.
# Run from the top of the project; the Makefile keeps the output in build/variants_table.c.
set -eu
export LC_ALL=C

names=
for file in variants/*.c; do
    [ -e "$file" ] || continue # no variant yet
    names="$names $(basename "$file" .c)"
done

echo '/* Written by variants/table.sh. */'
echo '#include "variants/template/mixer.h"'
echo
for name in $names; do
    echo "extern const Variant variant_$name;"
done
echo
echo 'const Variant *const variant_table[] = {'
for name in $names; do
    echo "    &variant_$name,"
done
echo '    NULL,'
echo '};'
