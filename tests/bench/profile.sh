#!/bin/sh
# Where the CPU time of a request goes, in µs: ours beside the store built into actix-session and the floor, by
# perf. Run by `make profile`; writes the tables to the terminal, and what they are made from to target/profile/.
# With SEALED=yes, sealed sessions beside clear ones.
set -eu

command -v perf > /dev/null || { echo "This needs perf: on Debian, apt-get install linux-perf" >&2; exit 1; }
out=target/profile
mkdir -p "$out"

export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only CARGO_TARGET_DIR="$out/build"
RUSTFLAGS="-C force-frame-pointers=yes" cargo build --locked --release --package bench

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
        END { count(); for (who in of) printf "%s\t%.4f\n", who, of[who] / samples }
    '
}

# profile ROUTE CONTENDER…: those that run first on the first route that is called so.
profile() {
    route="$1"
    shift
    "$out/build/release/bench" run --only "$route" --output "$out" > "$out/bench.log" 2>&1 &
    bench=$!
    server() { pgrep --oldest --parent $bench --full "contender $1 "; }
    for contender in "$@"; do
        until server "$contender" > /dev/null; do
            kill -0 $bench 2> /dev/null || { cat "$out/bench.log" >&2; exit 1; }
            sleep 0.1
        done
        # It ends when the server does.
        perf record --quiet --freq 1999 --event cpu-clock --call-graph fp \
            --pid "$(server "$contender")" --output "$out/$contender.data" > /dev/null 2>&1 &
    done
    wait
    for contender in "$@"; do
        attribute "$out/$contender.data" | sed "s/^/$contender\t/"
    done > "$out/shares"
    # The CPU time of each is in the seventh column of its first line in the report; they come in this order.
    echo "$route:"
    awk -F '\t' -v contenders="$*" '
        BEGIN { n = split(contenders, names, " ") }
        FILENAME ~ /bench.log/ {
            if (split($0, cell, "|") > 7 && !/contender/) {
                gsub(/^ +| +$/, "", cell[2])
                if (!(cell[2] in time)) time[cell[2]] = cell[7] + 0
            }
            next
        }
        { share[$2, $1] = $3 }
        END {
            m = split("kernel;actix-web;session middleware, cookie (the floor: its handler);the store;" \
                "sealing;sealing: nonces;redis-rs;tokio;allocator and others", parts, ";")
            title["ours"] = "ours"
            title["consistent"] = "ours, ConsistentSessions"
            title["counter"] = "ours, ConsistentSessions, counter"
            title["sealed"] = "ours, ConsistentSessions, sealed"
            title["single"] = "built-in, one connection"
            title["floor"] = "floor: by hand"
            printf "\n| µs a request |"
            for (i = 1; i <= n; i++) printf " %s |", title[names[i]]
            printf "\n| --- |"
            for (i = 1; i <= n; i++) printf " --: |"
            printf "\n"
            for (p = 1; p <= m; p++) {
                printf "| %s |", parts[p]
                for (i = 1; i <= n; i++) printf " %.1f |", share[parts[p], names[i]] * time[title[names[i]]]
                printf "\n"
            }
            printf "| **all** |"
            for (i = 1; i <= n; i++) printf " **%.1f** |", time[title[names[i]]]
            printf "\n\n"
        }
    ' "$out/bench.log" "$out/shares"
}

case "${SEALED:-}" in
    "")
        profile "Counter route" ours consistent counter single floor
        profile "Read-only route" consistent single floor
        ;;
    *) profile "Sealed" consistent sealed ;;
esac
