#!/usr/bin/env bash
# Repeats the fault trials of a planned failover of Sentinel's against the servers that people run, those that
# are named or all: TRIALS (10) times each. Prints what is lost, as the table in the manual's chapter on servers.
set -euo pipefail
cd "$(dirname "$0")/../.."
trials="${TRIALS:-10}"
folders="$(tests/servers/fetch.sh "$@")"
trial=(cargo test --locked --workspace --all-features --test faults --)
"${trial[@]}" --list failover:: >&2

# Of what the trials say: "…: a planned failover: 3,037 requests, 0 failed, longest …, 62 of 64 sessions exact, 2
# answered writes lost". Of how many requests how many failed, in how many trials writes were lost, and how many.
sum() {
    sed --quiet "s/^Sentinel: a planned failover$1: \(.* requests, .*\)/\1/p" "$2" | tr -d , | awk -v trials="$trials" '
        { requests += $1; failed += $3 }
        / answered writes lost$/ { lossy++; lost += $(NF - 3); most = $(NF - 3) > most ? $(NF - 3) : most }
        END {
            if (NR != trials) print NR " trials of " trials " have come to their end" >"/dev/stderr"
            printf "%d | %d | %d of %d | %d | %d", requests, failed, lossy, NR, lost, most
        }'
}

status=0
table="| server | writes | requests | failed | trials that lost writes | writes lost | most in one trial |
| --- | --- | --: | --: | --: | --: | --: |"
for folder in $folders; do
    version="$("$folder/bin/redis-server" --version | awk '{ print $1, substr($3, 3) }')"
    said="${folder%/*}/results/${folder##*/}-planned-failover"
    mkdir -p "${said%/*}"
    : >"$said" >"$said.out"
    for ((round = 1; round <= trials; round++)); do
        echo "planned failover: ${folder##*/}, $round of $trials" >&2
        PATH="$folder/bin:$PATH" "${trial[@]}" planned_failover the_old_one_is_well >>"$said.out" 2>>"$said" || status=1
    done
    table+=$'\n'"| $version | go on | $(sum "" "$said") |"
    table+=$'\n'"| $version | are paused | $(sum ", writes paused" "$said") |"
done
echo "$table"
exit "$status"
