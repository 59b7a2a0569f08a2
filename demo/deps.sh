#!/bin/sh
# Installs what the demo starts: redis-server and nginx. With the argument "test", also what the tests need: OpenSSL,
# which native-tls is built with; jq, with which tests/lowest-versions.sh reads manifests; patch, with which
# tests/compat changes applications; Chromium for tests/browser; and the programs that the files in demo/deploy are
# for: haproxy, caddy, promtool, systemd-analyze. With "bench", also what generates load: wrk. Does nothing when all
# is there.
set -eu

# Debian keeps nginx where the PATH of an ordinary user does not look.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/bin"

what_for="${1:-demo}"

programs() {
    echo redis-server nginx
    case "$what_for" in
        bench) echo wrk ;;
        test)
            echo jq patch
            if [ -z "${SKIP_BROWSER-}" ]; then echo chromium chromedriver; fi
            if [ -n "${SKIP_DEPLOY_TOOLS-}" ]; then return; fi
            echo haproxy caddy promtool
            # Only where there may be a systemd.
            if command -v apt-get >/dev/null || command -v dnf >/dev/null; then echo systemd-analyze; fi
            ;;
    esac
}

missing() {
    for program in $(programs); do
        command -v "$program" >/dev/null || printf ' %s' "$program"
    done
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
            "debian chromedriver") printf ' chromium-driver' ;;
            "fedora openssl") printf ' openssl-devel pkgconf-pkg-config' ;;
            "fedora promtool") printf ' golang-github-prometheus' ;;
            "alpine openssl") printf ' openssl-dev pkgconf' ;;
            "alpine chromedriver") printf ' chromium-chromedriver' ;;
            "homebrew chromium") ;;
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
echo "deps: installing$(missing)"

# Debian starts servers as services of the system when it installs them, and at every boot from then on; nothing
# here uses that. What a policy-rc.d is: https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
apt_get_install() {
    cat <<SCRIPT
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e \$policy ]; then
    trap 'rm -f \$policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >\$policy
    chmod 755 \$policy
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y$(packages debian)
if [ -d /run/systemd/system ]; then
    for service in $(missing)$(packages debian); do
        systemctl disable --quiet \$service.service 2>/dev/null || true
    done
fi
SCRIPT
}

if command -v apt-get >/dev/null; then
    as_root "$(apt_get_install)"
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
