#!/bin/sh
# aarch64.sh -- the tests of fibers and stacks on an emulated aarch64.
#
# usage: aarch64.sh [TREE]
# Compiles the fiber layer with its tests for aarch64 and runs them under qemu's user emulation.
# Needs the Debian packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user; says that it
# skipped, with status 77, only when one of them is missing.
set -eu

tree=${1:-$(dirname "$0")/..}
root=/usr/aarch64-linux-gnu

missing() {
    echo "skipped: no $1; apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
    exit 77
}

command -v aarch64-linux-gnu-gcc >/dev/null || missing aarch64-linux-gnu-gcc
command -v qemu-aarch64 >/dev/null || missing qemu-aarch64
[ -e "$root/include/stdio.h" ] || missing "$root/include"

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

cd "$tree"
for level in -O0 -O2 '-O2 -mbranch-protection=standard'; do
    # shellcheck disable=SC2086
    aarch64-linux-gnu-gcc -std=gnu11 -D_GNU_SOURCE= $level -g -Wall -Wextra -Wshadow -Wconversion \
        -Wmissing-prototypes -Wundef -Werror -fno-omit-frame-pointer -fstack-clash-protection \
        -Isrc -Itests src/fiber/*.c src/fiber/switch_aarch64.S \
        tests/unit/fiber_test.c tests/unit/stack_test.c tests/unit/overflow_test.c tests/main.c \
        -pthread -o "$directory/test"
    echo "aarch64 $level"
    timeout 300 qemu-aarch64 -L "$root" "$directory/test"
done
