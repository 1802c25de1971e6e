#!/bin/sh
# paths.sh - gate: no tracked file names a place on the machine it was written on.
set -eu
git rev-parse --is-inside-work-tree >/dev/null 2>&1 || { echo "skipped: no git"; exit 0; }

start='(^|[^[:alnum:]_.-])'
places="/(home|Users|root|work|mnt|srv|media|workspaces?|builds?|runner)/[[:alnum:]._-]"
here=$(pwd | sed 's/[.+*]/\\&/g')
if git ls-files -z --cached --others --exclude-standard |
    xargs -0 grep -nIE "$start($places|$here)" /dev/null; then
    echo "a place on someone's machine: write a path from the top of the project"
    exit 1
fi
