#!/bin/sh
# Installs what the demo and the tests start: redis-server and nginx. Does nothing when both are
# there. A package may also start them as services of the system; nothing here uses those.
set -eu

# Debian keeps nginx where the PATH of an ordinary user does not look.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/bin"

missing=""
command -v redis-server >/dev/null || missing="redis-server"
command -v nginx >/dev/null || missing="$missing nginx"
[ -n "$missing" ] || exit 0

packages() {
    for program in $missing; do
        case "$1 $program" in
            "debian nginx") echo nginx-light ;;
            "debian redis-server") echo redis-server ;;
            *" redis-server") echo redis ;;
            *) echo "$program" ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "deps: to install$missing, run as root or install sudo: $*" >&2
        exit 1
    fi
}

echo "deps: installing $missing"
if command -v apt-get >/dev/null; then
    as_root apt-get update -qq
    # shellcheck disable=SC2046
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y $(packages debian)
elif command -v dnf >/dev/null; then
    as_root dnf install -y $(packages fedora)
elif command -v apk >/dev/null; then
    as_root apk add $(packages alpine)
elif command -v brew >/dev/null; then
    brew install $(packages homebrew)
else
    echo "deps: found none of apt-get, dnf, apk, brew; please install: $missing" >&2
    exit 1
fi
