#!/bin/sh
# check.sh -- the harness notices every way to fail.
#
# usage: check.sh PROGRAM EXPECTED
# The program fails in known ways; its output, line numbers aside, is known to the letter.
set -u
program=$1 expected=$2
got=$(mktemp)
trap 'rm -f "$got"' EXIT
passed=0 failed=0

promise() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok - $2"
    else
        failed=$((failed + 1))
        echo "FAIL $2"
    fi
}

"$program" | sed -E 's/(broken\.c):[0-9]+:/\1:/; s/within [0-9]+ s/within N s/' >"$got"
difference=$(diff "$expected" "$got")
promise $? "the harness reports every kind of failure, and no other"
[ -z "$difference" ] || echo "$difference"

"$program" >"$got"
[ $? -eq 1 ]
promise $? "a program with a failed test exits 1"

"$program" passes skips >"$got"
promise $? "a program whose selected tests pass exits 0"

"$program" nothing-of-this-name >"$got"
[ $? -eq 1 ]
promise $? "a selection of no tests is not a success"

[ "$("$program" --repeat 3 passes | tail -n 1)" = "3 passed, 0 failed, 0 skipped" ]
promise $? "--repeat runs a test as often as it says"

[ "$("$program" --list crashes)" = "crashes: a crash names its signal" ]
promise $? "--list names a test and runs none"

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
