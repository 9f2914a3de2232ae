#!/usr/bin/env bash
# The package as others get it: unpacked where nothing of the repository is near, its tests build without features and pass with all.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
rm -f "$target"/package/causerie-core-*.crate
cargo package --quiet --package causerie-core --locked
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tar -C "$folder" -xzf "$target"/package/causerie-core-*.crate
cd "$folder"/causerie-core-*
# As the repository's profile has it: some tests go through millions of inputs.
export CARGO_TARGET_DIR="$target/packaged" CARGO_PROFILE_DEV_OPT_LEVEL=1
cargo test --quiet --no-run
cargo test --quiet --all-features
