#!/usr/bin/env bash
# Packs a release: packaging/release.sh [TARGET] makes target/dist/causerie-VERSION-TARGET.tar.gz and its SHA-256.
#
# TARGET is as rustc calls it; by default this machine's own. For one static binary that needs nothing of its system:
#   apt-get install musl-tools && rustup target add x86_64-unknown-linux-musl
#   packaging/release.sh x86_64-unknown-linux-musl
# The same commit and compiler make the same archive: its files have the commit's time and no owner.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
target=${1:-$host}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=causerie-$version-$target
dist=$PWD/target/dist
stage=$dist/$name
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}

case $target in
    *-linux-musl) # SQLite and the cryptography are C
        command -v musl-gcc >/dev/null || { echo "musl-gcc is missing: apt-get install musl-tools" >&2; exit 1; }
        export "CC_${target//-/_}=musl-gcc" ;;
esac
command -v python3 >/dev/null || { echo "python3 is missing: it collects the licences of what is built in" >&2; exit 1; }

cargo build --release --locked --package causerie --bin causerie --target "$target"
binary=target/$target/release/causerie

rm -rf "$stage"
install -D -m 755 "$binary" "$stage/bin/causerie"
install -m 644 README.md LICENSE-MIT LICENSE-APACHE "$stage/"
install -m 644 packaging/README.md "$stage/INSTALL.md"
install -D -m 644 -t "$stage/docs" docs/*.md docs/*.png docs/asyncapi.yaml
cp -r docs/schema "$stage/docs/schema" && chmod -R u=rwX,go=rX "$stage/docs/schema"
install -D -m 644 -t "$stage/guide/src" guide/src/*.md && install -D -m 644 -t "$stage/guide/clients" guide/clients/*
install -D -m 644 packaging/causerie.service "$stage/lib/systemd/system/causerie.service"
if [ "$target" = "$host" ] || [[ $target == ${host%%-*}-*-linux-* ]]; then # it runs here
    mkdir -p "$stage/completions"
    for shell in bash zsh fish elvish powershell; do
        "$binary" completions $shell > "$stage/completions/causerie.$shell"
    done
fi
cargo metadata --locked --format-version 1 --filter-platform "$target" | python3 packaging/licences.py "$stage/third-party"

archive=$dist/$name.tar.gz
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$dist" -cf - "$name" | gzip -9n > "$archive"
(cd "$dist" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
ls -l "$archive"
