#!/usr/bin/env bash
# Builds the library with the lowest version of each dependency that its manifest admits. Cargo
# chooses those where something else allows nothing newer: an old rust-version, or another crate.
#
# A package below target/ depends on the library, and on everything that the library depends on,
# but on its lower bound alone: "0.23" becomes "=0.23.0". A bound must be raised in the manifest if
# cargo says that no such version exists (or that it is yanked), that another crate needs a newer
# one, or that the library does not compile.
#
# It does the same with the lowest Rust that the manifest admits, and once more with the newest
# dependencies that this Rust can use, if rustup has that Rust or can get it.
set -euo pipefail
cd "$(dirname "$0")/.."

library=actix-session-redis
# Its interface is ours, too: a crate, and the dependency that brings it and says which version.
reexported=redis reexported_by=deadpool-redis

scratch="$PWD/target/lowest-versions"
manifest="$scratch/Cargo.toml"
mkdir -p "$scratch/src"
touch "$scratch/src/lib.rs"

# What cargo metadata knows as "^1.2" is at least 1.2.0.
lower_bound='def lower_bound:
    if test("^\\^[0-9]+(\\.[0-9]+){0,2}$")
    then .[1:] | split(".") | . + ["0", "0"] | .[:3] | join(".")
    else error("\(.): which version is the lowest?")
    end;'

cargo metadata --locked --no-deps --format-version 1 | jq --raw-output --arg library "$library" "$lower_bound"'
    .packages[] | select(.name == $library) |
    "[workspace]",
    "[package]",
    "name = \"lowest-versions\"",
    "edition = \"\(.edition)\"",
    "rust-version = \"\(.rust_version)\"",
    "[features]",
    (.features | keys[] | select(. != "default") | "\(.) = [\"\($library)/\(.)\"]"),
    "[dependencies.\($library)]",
    "path = \"\(.manifest_path | rtrimstr("/Cargo.toml"))\"",
    "default-features = false",
    (.dependencies | map(select(.kind == null and .source != null)) | unique_by(.rename // .name)[] |
        "[dependencies.\(.rename // .name)]",
        "package = \"\(.name)\"",
        "version = \"=\(.req | lower_bound)\"",
        "default-features = false")
' >"$manifest"

# The lowest version of what is re-exported; everything else stays as it is in Cargo.lock.
pin_reexported() {
    local version
    version="$(cargo metadata --manifest-path "$manifest" --format-version 1 | jq --raw-output \
        --arg crate "$reexported" --arg by "$reexported_by" "$lower_bound"'
        .packages[] | select(.name == $by) | .dependencies[] |
        select(.name == $crate and .kind == null) | .req | lower_bound')"
    cargo update --manifest-path "$manifest" --precise "$version" "$reexported"
}

# With a Rust (+…), or with the one that is in use.
check() {
    cargo "$@" check --locked --manifest-path "$manifest" --target-dir "$scratch/target"
    cargo "$@" check --locked --manifest-path "$manifest" --target-dir "$scratch/target" --all-features
}

# As far as possible as it is in our own.
cp Cargo.lock "$scratch/"
pin_reexported
check

rust="$(cargo metadata --locked --no-deps --format-version 1 | jq --raw-output --arg library "$library" \
    '.packages[] | select(.name == $library) | .rust_version')"
has_rust() {
    RUSTUP_AUTO_INSTALL=0 rustup run "$rust.0" rustc --version 2>/dev/null
}
if ! has_rust; then
    timeout 120 rustup toolchain install "$rust.0" --profile minimal --no-self-update || true
fi
if ! has_rust; then
    echo "lowest: skipped Rust $rust, which rustup neither has nor gets" >&2
    exit
fi
# Cargo chooses by rust-version what our own Cargo.lock, which is for a newer one, does not say.
rm "$scratch/Cargo.lock"
pin_reexported
check "+$rust.0"
# "=0.23.0" becomes "0.23.0", and newer ones fit again.
sed -i 's/^version = "=/version = "/' "$manifest"
rm "$scratch/Cargo.lock"
cargo generate-lockfile --manifest-path "$manifest"
check "+$rust.0"
