#!/bin/sh
# demo.sh -- watch weir work on this machine: an echo server in three ways, measured and checked.
#
# usage: demo.sh WEIR [SECONDS]     for each of the three
set -eu
weir=$1
seconds=${2:-2}
connections=50
work=$(mktemp -d)
server=

stop_server() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap 'stop_server; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# field NAME -- a number from the line of JSON in $work/json
field() {
    sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" "$work/json"
}

# row WORDS OPTION... -- one line of the table
row() {
    words=$1
    shift
    "$weir" serve echo 127.0.0.1:0 "$@" >"$work/address" 2>"$work/error" &
    server=$!
    if ! read -r address <"$work/address"; then
        status=0
        wait "$server" || status=$?
        server=
        unavailable "$words" "$status"
        return
    fi
    "$weir" bench "$address" --connections "$connections" --duration "$seconds" --warmup 300ms \
        --server-pid "$server" --json >"$work/json"
    stop_server
    awk -v words="$words" -v rate="$(field requests_per_s)" -v p50="$(field p50)" \
        -v p99="$(field p99)" -v cpu="$(field server_cpu_us)" -v verified="$(field verified)" '
        function count(n,    text) {
            for (n = int(n); n >= 1000; n = int(n / 1000))
                text = sprintf(",%03d%s", n % 1000, text)
            return n text
        }
        BEGIN {
            printf "  %-30s %10s %9.0f us %9.0f us %8.1f us %11s\n", words, count(rate), p50, p99,
                cpu, count(verified)
        }'
}

# A kernel or container may forbid io_uring, and the demonstration goes on without it.
unavailable() {
    if [ "$2" -eq 8 ] && grep -q io_uring "$work/error"; then
        printf '  %-30s not available here: this kernel or container forbids it\n' "$1"
    else
        cat "$work/error" >&2
        exit 1
    fi
}

mkfifo "$work/address"
"$weir" version
cat <<END
An echo server and $connections connections. Each sends 64 bytes, waits until they have come back,
compares every byte with what it sent, and sends again; $seconds seconds of that for each server.

END
line='  %-30s %10s %12s %12s %11s %11s\n'
# shellcheck disable=SC2059 # one format for two lines
printf "$line" '' 'answers' 'half took' '99 % took' 'CPU for' 'answers'
# shellcheck disable=SC2059
printf "$line" 'server' 'per second' 'at most' 'at most' 'each' 'verified'
row 'fibers, on io_uring' --backend io_uring
row 'fibers, on epoll' --backend epoll
row 'a process for each connection' --model process
cat <<END

It is the same handler each time, some straight lines of C; only an option of the server changed.
The less processor time an answer costs, the more clients one machine can serve.
Next, in one terminal:  $weir serve echo :7000
and in another:         $weir bench :7000 -c 500      (then copy from examples/)
END
