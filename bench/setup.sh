#!/bin/sh
# setup.sh - finds the packages that are missing and installs them where it may. Never asks.
# Usage: bench/setup.sh [run | test | check]...
#
# Nothing named: what it takes to build. Each further word takes in those before it. Silent when all
# is there. Exits 2, with the one line to run, when something needed is missing and stays so.
set -eu

build="gcc make libc6-dev libopenblas-openmp-dev libjansson-dev librandom123-dev liblzma-dev
       zlib1g-dev libmd-dev"
run="gnuplot-nox"
test="libcriterion-dev g++"
check="clang clang-format clang-tidy cppcheck valgrind universal-ctags libomp-dev libclang-rt-dev"
text="bible-kjv bible-kjv-text" # may stay missing: any other text will do

need=$build
want=
tools=
case " $* " in *" run "* | *" test "* | *" check "*)
    need="$need $run" want=$text tools=gnuplot ;;
esac
case " $* " in *" test "* | *" check "*) need="$need $test" ;; esac
case " $* " in *" check "*)
    need="$need $check" tools="$tools clang clang-format clang-tidy cppcheck valgrind ctags" ;;
esac

missing() { # PACKAGE...: those of them that are not installed
    have=" $(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "$@" 2>/dev/null |
        sed -n 's/^[hi]i *//p' | tr '\n' ' ')"
    for package in "$@"; do
        case $have in *" $package "*) ;; *) echo "$package" ;; esac
    done
}

apt() { # apt-get, as root and without questions
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
    else
        sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
    fi </dev/null >&2
}

install() { # PACKAGE...: with fresh lists if it does not work at once
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || return 1
    echo "setup: installing $*" >&2
    apt install -y --no-install-recommends "$@" 2>/dev/null ||
        { apt update && apt install -y --no-install-recommends "$@"; }
}

debian() {
    lack=$(missing $need)
    [ -z "$lack" ] || install $lack || true
    lack=$(missing $need)
    if [ -n "$lack" ]; then
        echo "setup: please run: sudo apt-get install -y" $lack $(missing $want) >&2
        exit 2
    fi
    lack=$(missing $want)
    [ -z "$lack" ] || install $lack ||
        echo "setup: no" $lack "here: give your own text by \`longmix bench --data FILE\`" >&2
}

# Where there is no dpkg: is there a header for each library, and a program for each tool?
lacks_header() { # HEADER
    ! echo "#include <$1>" | ${CC:-cc} -I/usr/include/openblas -fsyntax-only -x c - 2>/dev/null
}

elsewhere() {
    headers="OpenBLAS:cblas.h jansson:jansson.h Random123:Random123/philox.h liblzma:lzma.h
             zlib:zlib.h libmd:sha2.h"
    case $need in *criterion*) headers="$headers Criterion:criterion/criterion.h" ;; esac
    lack=
    for pair in $headers; do
        ! lacks_header "${pair#*:}" || lack="$lack ${pair%%:*}"
    done
    for tool in $tools; do
        command -v "$tool" >/dev/null || echo "setup: no $tool here: its part is skipped" >&2
    done
    [ -z "$lack" ] || { echo "setup: please install:$lack" >&2 && exit 2; }
}

if command -v dpkg-query >/dev/null; then debian; else elsewhere; fi
