#!/bin/sh
# fuzz.sh - gate: each parser against a fuzzer for a few seconds, from the seeds that are kept.
# `make fuzz` runs them for long.
set -eu
exec make -s FUZZ_SECONDS=12 fuzz
