#!/bin/sh
# Where the CPU time of a request on the counter route goes: ours beside the floor, by perf. Run by
# `make profile`; writes to the terminal and to target/profile/. With SEALED=yes, sealed sessions beside
# clear ones.
set -eu

command -v perf > /dev/null || { echo "This needs perf: on Debian, apt-get install linux-perf" >&2; exit 1; }
case "${SEALED:-}" in
    "") only="Counter route" contenders="ours consistent floor" ;;
    *) only="Sealed" contenders="consistent sealed" ;;
esac
out=target/profile
mkdir -p "$out"

export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_TARGET_DIR="$out/build"
RUSTFLAGS="-C force-frame-pointers=yes" cargo build --locked --release --package bench

"$out/build/release/bench" run --only "$only" --output "$out" > "$out/bench.log" 2>&1 &
bench=$!
# The first one: that of the counter route.
server() { pgrep --oldest --parent $bench --full "contender $1 "; }
for contender in $contenders; do
    until server "$contender" > /dev/null; do
        kill -0 $bench 2> /dev/null || { cat "$out/bench.log" >&2; exit 1; }
        sleep 0.1
    done
    # It ends when the server does.
    perf record --quiet --freq 1999 --event cpu-clock --call-graph fp \
        --pid "$(server "$contender")" --output "$out/$contender.data" > /dev/null 2>&1 &
done
wait

# A sample counts for the innermost function that belongs to somebody, and apart if it was taken in
# the kernel; but all that sealing calls is its own.
attribute() {
    perf script --input "$1" --fields ip,sym,dso 2> /dev/null | awk '
        function owner(symbol) {
            if (symbol ~ /actix_session_redis|tracing/) return "the store"
            if (symbol ~ /redis::|combine::/) return "redis-rs"
            if (symbol ~ /actix_session::|cookie::|bench::floor|sha2|hmac|base64|percent_enc/)
                return "session middleware, cookie (the floor: its handler)"
            if (symbol ~ /actix|h1::|http::|bench::/) return "actix-web"
            if (symbol ~ /tokio|mio::|futures/) return "tokio"
            return ""
        }
        function count() {
            if (!depth) return
            samples++
            if (sealing) who = in_kernel ? "sealing: nonces" : "sealing"
            else if (in_kernel) who = "kernel"
            of[who == "" ? "allocator and others" : who]++
            depth = sealing = 0; who = ""
        }
        NF == 0 { count(); next }
        /session::seal::/ { sealing = 1 }
        { if (!depth++) in_kernel = /\[kernel/; if (who == "") who = owner($0) }
        END { count(); for (who in of) printf "%s\t%.1f %%\n", who, 100 * of[who] / samples }
    ' | sort
}

grep '^| ' "$out/bench.log" | sed -n '/^| to reach/q; 1,/^| no session/p' | cut -d '|' -f 2,3,7
for contender in $contenders; do
    printf '\n%s\n' "$contender"
    attribute "$out/$contender.data"
done
