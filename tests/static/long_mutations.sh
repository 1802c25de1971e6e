#!/bin/sh
# long_mutations.sh - gate: planted bugs, one at a time, each of which the tests must see.
set -eu
exec make -s WERROR=1 mutations
