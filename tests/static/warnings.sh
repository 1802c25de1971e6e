#!/bin/sh
# warnings.sh - gate: gcc and clang build everything without a warning (of the emulators, which
# `make test` builds, one).
set -eu
make -s BUILD=build/gcc CC=gcc WERROR=1 EMUS=plain binaries >/dev/null
command -v clang >/dev/null || { echo "skipped: no clang"; exit 0; }
make -s BUILD=build/clang CC=clang WERROR=1 EMUS=plain binaries >/dev/null
