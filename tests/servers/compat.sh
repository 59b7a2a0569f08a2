#!/usr/bin/env bash
# Runs the tests of the store and the fault trials against the servers that people run, those that are named or
# all, and prints the table in the manual's chapter on servers. What the tests say is in the folder "results" beside
# the servers.
#
#   compat.sh [SERVER…]             everything: about eight minutes of two cores for each server
#   compat.sh --quick [SERVER…]     what servers could do in different ways: scripts, what they refuse and in
#                                   which words, TTLs, indexes, cluster and Sentinel; no fault trials
set -euo pipefail
cd "$(dirname "$0")/../.."
quick=
if [ "${1:-}" = --quick ]; then
    quick=yes
    shift
fi
folders="$(tests/servers/fetch.sh "$@")"
# As in "make test", so that nothing is built twice.
tests=(cargo test --locked --workspace --all-features)
"${tests[@]}" --no-run --test store --test faults
[ -n "$quick" ] || cargo build --locked --workspace --all-features --examples

# Of the store, by the beginning of their names.
differ="check:: cluster::a_ ended:: lifecycle::a_session_has not_now:: refusals:: sentinel:: ttl:: unreadable::
    users::limit users::list write::server --skip model --skip protocol"

# Runs these tests against a server, and says how many have passed; those that have not are in "failed".
failed=
run() {
    local folder="$1" test="$2" log result
    shift 2
    log="${folder%/*}/results/${folder##*/}-$test"
    mkdir -p "${log%/*}"
    echo "compat: $test on ${folder##*/}" >&2
    PATH="$folder/bin:$PATH" "${tests[@]}" --test "$test" -- "$@" >"$log.out" 2>"$log.err" || true
    result="$(sed --quiet 's/^test result: [A-Za-z]*\. \([0-9]* passed; [0-9]* failed\).*/\1/p' "$log.out")"
    failed+="$(sed --quiet "s/^test \([^ ]*\)\( - should panic\)\? \.\.\. FAILED$/ \`\1\`/p" "$log.out" | tr -d '\n')"
    passed="${result:-has not run}"
    [[ "$passed" == *" 0 failed" ]] || status=1
}

status=0
table="| server | tests of the store | fault trials | what differs |
| --- | --- | --- | --- |"
for folder in $folders; do
    version="$("$folder/bin/redis-server" --version | awk '{ print $1, substr($3, 3) }')"
    failed=
    # Those from PyPI have no TLS.
    skip=()
    [[ "$folder" != *-pypi ]] || skip=(--skip tls)
    if [ -n "$quick" ]; then
        # shellcheck disable=SC2086
        run "$folder" store "${skip[@]}" $differ
        store="$passed" faults="not run"
    else
        run "$folder" store "${skip[@]}"
        store="$passed"
        run "$folder" faults
        faults="$passed"
    fi
    table+=$'\n'"| $version | $store | $faults |${failed:- nothing} |"
done
echo "$table"
exit "$status"
