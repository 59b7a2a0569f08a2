#!/usr/bin/env bash
# What the library brings into an application, with all features: one version of the redis crate
# (the tests bring another, which the store built into actix-session works on); only licences and
# sources that tests/deny.toml allows; nothing that an advisory of RustSec is about.
set -euo pipefail
cd "$(dirname "$0")/.."
library=actix-session-redis

packages="$(cargo tree --locked --package "$library" --all-features --edges no-dev --target all \
    --prefix none --format '{p}')"
versions="$(awk '$1 == "redis" { print $1, $2 }' <<<"$packages" | sort --unique)"
if [ "$(wc -l <<<"$versions")" != 1 ]; then
    printf 'dependencies: the library needs one version of the redis crate, and has these:\n%s\n' "$versions" >&2
    exit 1
fi

skipped() {
    echo "dependencies: SKIPPED: $1" >&2
}

if ! cargo deny --version >/dev/null 2>&1; then
    skipped "licences, sources, advisories: cargo-deny is missing; make deps-lint"
    exit
fi
# It looks at those for other systems, too, which no build has downloaded.
cargo fetch --locked
checks=(bans licenses sources)
# Never fetched here: that needs GitHub.
if ls "${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/* >/dev/null 2>&1; then
    checks+=(advisories)
else
    skipped "advisories: their database is missing; cargo deny fetch db"
fi
cargo deny --locked --offline --config tests/deny.toml \
    --manifest-path "crates/$library/Cargo.toml" check "${checks[@]}"
