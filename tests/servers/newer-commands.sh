#!/usr/bin/env bash
# What a write and a read take of the server's CPU, as the store sends them, and with commands that only
# newer servers have: microseconds each, the least of ROUNDS (9) with 200,000 of them. The hash is a session
# with five fields, one of which is that of its birth. For each of the servers that are named, else for all.
set -euo pipefail
cd "$(dirname "$0")"
servers="$(./fetch.sh "$@")"
scratch="$(mktemp -d)"
server=
end_server() {
    [ -n "$server" ] || return 0
    kill "$server"
    wait "$server" || true
    server=
}
trap 'end_server; rm -r "$scratch"' EXIT
count=200000

# A session's fields, none of them for ever in a server that can do so.
fields="born 1764000000000 user 12 counter 41 theme dark csrf 5d41402abc4b2a76b9719d911017c592"
names="born user counter theme csrf"

# What is compared, command by command; "|" is between them.
declare -A ways=(
    ["write: as the store does"]="MULTI|HSET s counter 42|PEXPIRE s 3600000|HEXISTS s born|EXEC"
    ["write: HSETEX FXX, with the field of the birth, for HSET and HEXISTS"]="MULTI|HSETEX s FXX KEEPTTL FIELDS 2 born 1764000000000 counter 42|PEXPIRE s 3600000|EXEC"
    ["write: HSETEX XX for HSET and HEXISTS"]="MULTI|HSETEX s XX KEEPTTL FIELDS 1 counter 42|PEXPIRE s 3600000|EXEC"
    ["write: HSETEX FXX PX of all fields, which have the TTL, for all"]="HSETEX s FXX PX 3600000 FIELDS 5 $fields"
    ["read that prolongs: as the store does"]="HGETALL s|PTTL s|PEXPIRE s 3600000"
    ["read that prolongs: HGETEX PX of all fields, which have the TTL, for all"]="HGETEX s PX 3600000 FIELDS 5 $names"
)

# As clients send it, so often.
resp() {
    tr '|' '\n' <<<"$1" | awk -v count="$2" '
        {
            once = once "*" NF "\r\n"
            for (i = 1; i <= NF; i++) once = once "$" length($i) "\r\n" $i "\r\n"
        }
        END { while (count--) printf "%s", once }'
}

ask() {
    redis-cli -s "$scratch/socket" "$@"
}

cpu_us() {
    ask INFO cpu | tr -d '\r' | awk -F : '/^used_cpu_(user|sys):/ { sum += $2 } END { printf "%.0f", sum * 1e6 }'
}

echo "| server | what | µs |"
echo "| --- | --- | --: |"
for folder in $servers; do
    "$folder/bin/redis-server" --port 0 --unixsocket "$scratch/socket" --dir "$scratch" --save "" >"$scratch/log" &
    server=$!
    until ask PING >"$scratch/pong" 2>&1; do
        kill -0 "$server" || { cat "$scratch/log" >&2; exit 1; }
    done
    version="$("$folder/bin/redis-server" --version | awk '{ print $1, substr($3, 3) }')"
    declare -A least=()
    for ((round = 0; round < ${ROUNDS:-9}; round++)); do
        for way in "${!ways[@]}"; do
            ask DEL s >"$scratch/out"
            # shellcheck disable=SC2086
            ask HSET s $fields >"$scratch/out"
            # A server that does not know the command has no figure.
            tr '|' '\n' <<<"${ways[$way]}" | ask >"$scratch/out"
            ! grep --quiet 'ERR\|EXECABORT' "$scratch/out" || continue
            [ -e "$scratch/$way" ] || resp "${ways[$way]}" "$count" >"$scratch/$way"
            before="$(cpu_us)"
            ask --pipe <"$scratch/$way" >"$scratch/out"
            us="$(awk -v us="$(($(cpu_us) - before))" -v n="$count" 'BEGIN { printf "%.2f", us / n }')"
            least[$way]="$(printf '%s\n' "${least[$way]:-$us}" "$us" | sort --numeric-sort | head -n 1)"
        done
    done
    for way in "${!least[@]}"; do echo "| $version | $way | ${least[$way]} |"; done | sort
    end_server
    unset least
done
