#!/bin/sh
# new.sh - begins a variant: copies template/skeleton.c to variants/NAME.c, with the name put in.
# Usage: variants/new.sh NAME, from the top of the project (make new-variant NAME=foo).
set -eu
name=${1:-}
file=variants/$name.c
case $name in
'')
    echo "new-variant: which name? make new-variant NAME=foo" >&2
    exit 2
    ;;
[!a-z]* | *[!a-z0-9_]*)
    echo "new-variant: '$name' is no name: lower-case letters, digits and _, a letter first" >&2
    exit 2
    ;;
esac
if [ "${#name}" -gt 24 ]; then
    echo "new-variant: '$name' has ${#name} characters, at most 24 are allowed" >&2
    exit 2
fi
if [ -e "$file" ]; then
    echo "new-variant: there is a $file already" >&2
    exit 2
fi
sed "s/skeleton/$name/g; s,variants/template/$name\.c,variants/template/skeleton.c," \
    variants/template/skeleton.c >"$file"
echo "$file: a variant that works; now make it yours. See it: make && build/longmix list"
