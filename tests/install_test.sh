#!/bin/sh
# install_test.sh -- what `ninja install` lays down is complete, exact and usable.
#
# usage: install_test.sh SOURCE BUILD
# Installs into a directory of its own, compares what the libraries export with what weir.h
# declares, and builds the examples and samples as a stranger would, by pkg-config alone.
set -u
source=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dest=$work/dest
passed=0 failed=0 skipped=0

# promise STATUS WORDS -- counts; on failure shows $work/log, where the last step wrote.
promise() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok - $2"
    else
        failed=$((failed + 1))
        echo "FAIL $2"
        cat "$work/log"
    fi
    : >"$work/log"
}

skip() {
    skipped=$((skipped + 1))
    echo "skip - $1: $2"
}

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

: >"$work/log"
DESTDIR=$dest meson install -C "$build" --no-rebuild >"$work/log" 2>&1
promise $? "the build installs into a DESTDIR"

library=$(find "$dest" -name 'libweir.so' | head -n 1)
archive=$(find "$dest" -name 'libweir.a' | head -n 1)
header=$(find "$dest" -name weir.h | head -n 1)
description=$(find "$dest" -name weir.pc | head -n 1)
[ -n "$library" ] && [ -n "$archive" ] && [ -n "$header" ] && [ -n "$description" ]
installed=$?
find "$dest" >"$work/log"
promise $installed "libweir.so, libweir.a, weir.h and weir.pc are installed"
[ $installed -eq 0 ] || finish

soname=$(readelf -d "$library" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
[ "$soname" = libweir.so.0.1 ] && [ -e "${library%/*}/$soname" ]
promise $? "the soname carries the minor version"

readelf -lWd "$library" >"$work/log"
grep -q 'BIND_NOW' "$work/log" && grep -q 'GNU_RELRO' "$work/log" &&
    ! grep -q 'TEXTREL' "$work/log" && grep 'GNU_STACK' "$work/log" | grep -qv 'RWE'
promise $? "the library is bound at once, read-only after it, and its stack does not execute"

# ---- symbols

# The declarations of weir.h end in semicolons; what is a function has its name before a bracket.
echo '#include <weir.h>' | cc -E -P -I"${header%/*}" - | grep -v '^#' | tr '\n' ' ' |
    tr ';' '\n' | grep -v '^ *typedef' | grep -o '\bweir_[a-z0-9_]* *(' | tr -d ' (' |
    sort -u >"$work/declared"
nm -D --defined-only "$library" | awk '$2 != "A" {sub(/@.*/, "", $3); print $3}' |
    sort -u >"$work/exported"
nm --extern-only --defined-only "$archive" | awk 'NF == 3 {print $3}' | sort -u >"$work/archived"

[ -s "$work/declared" ] && diff "$work/declared" "$work/exported" >"$work/log"
promise $? "libweir.so exports what weir.h declares, no more and no less (< declared, > exported)"
[ -s "$work/declared" ] && diff "$work/declared" "$work/archived" >"$work/log"
promise $? "libweir.a exports what weir.h declares, no more and no less (< declared, > exported)"

# ---- building against it

PKG_CONFIG_LIBDIR=${description%/*}
PKG_CONFIG_SYSROOT_DIR=$dest
LD_LIBRARY_PATH=${library%/*}
export PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH
flags=$(pkg-config --cflags --libs weir)
static_flags=$(pkg-config --static --cflags --libs weir | sed 's/-lweir/-l:libweir.a/')

# compile COMPILER LANGUAGE-FLAGS FLAGS FILE
compile() {
    # shellcheck disable=SC2086 # flags are meant to be several words
    $1 $2 -Wall -Wextra -Werror -O1 -o "$work/program" "$4" $3 >"$work/log" 2>&1
}

for compiler in gcc clang; do
    if ! command -v "$compiler" >/dev/null; then
        skip "programs build with $compiler against the installed library" "no $compiler here"
        continue
    fi
    for file in "$source"/examples/*.c "$source"/tests/samples/*.c; do
        [ -e "$file" ] || continue
        compile "$compiler" -std=gnu11 "$flags" "$file"
        promise $? "${file#"$source"/} builds with $compiler against the installed library"
    done
done

sed -n '/^```c$/,/^```$/p' "$source/README.md" | grep -v '^```' >"$work/readme.c"
[ -s "$work/readme.c" ] && compile cc -std=gnu11 "$flags" "$work/readme.c"
promise $? "the example in README.md builds against the installed library"

cat >"$work/smallest.c" <<'END'
#include <weir.h>
int main(void)
{
    return weir_now() > 0 && weir_in_fiber() == 0 ? 0 : 1;
}
END
compile cc -std=c11 "$flags" "$work/smallest.c" && "$work/program" >"$work/log" 2>&1
promise $? "a program in strict C11 links the shared library and runs"
compile cc -std=gnu11 "$static_flags" "$work/smallest.c" && "$work/program" >"$work/log" 2>&1
promise $? "a program links the static library and runs"

cpp=$(command -v g++ || command -v clang++)
if [ -n "$cpp" ]; then
    cp "$work/smallest.c" "$work/smallest.cc"
    compile "$cpp" -std=c++17 "$flags" "$work/smallest.cc" && "$work/program" >"$work/log" 2>&1
    promise $? "a C++ program includes weir.h, links and runs"
else
    skip "a C++ program includes weir.h, links and runs" "no C++ compiler here"
fi

command=$(find "$dest" -path '*/bin/weir')
if [ -n "$command" ]; then
    "$command" version >"$work/log" 2>&1 && grep -q 0.1.0 "$work/log"
    promise $? "the installed command runs and tells its version"

    schema=$(find "$dest" -path '*/share/weir/lab.schema.json')
    [ -n "$schema" ] && cmp "$schema" "$source/docs/lab.schema.json" >"$work/log" 2>&1
    promise $? "the schema of the lab's output is installed where its manual page says"
fi

finish
