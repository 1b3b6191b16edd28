#!/bin/sh
# archive.sh -- makes the installed static library of the internal one.
#
# usage: archive.sh IN.a OUT.a OBJCOPY AR CC...
# All objects become one, and its hidden symbols become local to it.
set -eu
in=$1 out=$2 objcopy=$3 ar=$4
shift 4
object=$out.o
"$@" -r -nostdlib -o "$object" -Wl,--whole-archive "$in" -Wl,--no-whole-archive
"$objcopy" --localize-hidden "$object"
rm -f "$out"
"$ar" rcs "$out" "$object"
rm -f "$object"
