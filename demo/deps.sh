#!/bin/sh
# Installs what the demo and the tests start: redis-server and nginx. With the argument "test", also
# what the library's feature native-tls is built with: OpenSSL, what tests/lowest-versions.sh reads
# manifests with: jq, what tests/compat changes applications with: patch, and what tests/deploy reads
# the files for operators with: haproxy, caddy, promtool, systemd-analyze. With "bench", also what
# generates load: wrk. Does nothing when all is there.
set -eu

# Debian keeps nginx where the PATH of an ordinary user does not look.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/bin"

what_for="${1:-demo}"

missing() {
    for program in redis-server nginx; do
        command -v "$program" >/dev/null || printf ' %s' "$program"
    done
    if [ "$what_for" = bench ]; then
        command -v wrk >/dev/null || printf ' wrk'
    fi
    if [ "$what_for" = test ]; then
        command -v jq >/dev/null || printf ' jq'
        command -v patch >/dev/null || printf ' patch'
        command -v haproxy >/dev/null || printf ' haproxy'
        command -v caddy >/dev/null || printf ' caddy'
        command -v promtool >/dev/null || printf ' promtool'
        # Only where there may be a systemd.
        if command -v apt-get >/dev/null || command -v dnf >/dev/null; then
            command -v systemd-analyze >/dev/null || printf ' systemd-analyze'
        fi
    fi
    # On a Mac native-tls uses the system's own TLS.
    if [ "$what_for" = test ] && [ "$(uname)" = Linux ]; then
        pkg-config --exists openssl 2>/dev/null || printf ' openssl'
    fi
}

# What the packages of what is missing are called.
packages() {
    for program in $(missing); do
        case "$1 $program" in
            "debian nginx") printf ' nginx-light' ;;
            "debian redis-server") printf ' redis-server' ;;
            "debian openssl") printf ' libssl-dev pkg-config' ;;
            "fedora openssl") printf ' openssl-devel pkgconf-pkg-config' ;;
            "fedora promtool") printf ' golang-github-prometheus' ;;
            "alpine openssl") printf ' openssl-dev pkgconf' ;;
            *" redis-server") printf ' redis' ;;
            *" promtool") printf ' prometheus' ;;
            *" systemd-analyze") printf ' systemd' ;;
            *) printf ' %s' "$program" ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        sh -c "$1"
    elif command -v sudo >/dev/null; then
        sudo sh -c "$1"
    else
        echo "deps: neither root nor sudo; please run as root: $1" >&2
        exit 1
    fi
}

[ -n "$(missing)" ] || exit 0
echo "deps: installing$(missing); the packages may start them as services of the system too," \
    "which nothing here uses"

if command -v apt-get >/dev/null; then
    as_root "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y$(packages debian)"
elif command -v dnf >/dev/null; then
    as_root "dnf install -y$(packages fedora)"
elif command -v apk >/dev/null; then
    as_root "apk add$(packages alpine)"
elif command -v brew >/dev/null; then
    # shellcheck disable=SC2046
    brew install $(packages homebrew)
else
    echo "deps: found none of apt-get, dnf, apk, brew; please install:$(missing)" >&2
    exit 1
fi

[ -z "$(missing)" ] || { echo "deps: the packages did not bring:$(missing)" >&2; exit 1; }
