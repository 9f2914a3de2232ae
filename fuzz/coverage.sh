#!/usr/bin/env bash
# How many regions of core/src the committed corpora reach: the source-based coverage of LLVM, while stable Rust replays
# them. Prints a table by file, and every region that is not reached with its reason (COVERAGE.md). Fails below the share
# given (default: 99 %), and with 2 where the tools are missing.
#
#   fuzz/coverage.sh [PERCENT]
set -euo pipefail
cd "$(dirname "$0")/.."
least=${1:-99}

# The tools must be of the LLVM that rustc has: those of rustup, or a distribution's of the same number.
host=$(rustc -vV | sed -n 's/^host: //p')
version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
find_tool() {
    local own
    own="$(rustc --print sysroot)/lib/rustlib/$host/bin/$1"
    if [ -x "$own" ]; then echo "$own"; else command -v "$1-$version"; fi
}
if ! profdata=$(find_tool llvm-profdata) || ! cov=$(find_tool llvm-cov); then
    echo "llvm-profdata and llvm-cov $version are missing: rustup component add llvm-tools, or apt-get install llvm-$version" >&2
    exit 2
fi

out=target/coverage
mkdir -p "$out/profiles"
rm -f "$out"/profiles/*
export LLVM_PROFILE_FILE="$PWD/$out/profiles/%p-%m.profraw"
targets=(frames hub resume)
RUSTFLAGS="-C instrument-coverage" cargo build --quiet --locked --target-dir "$out" -p causerie-fuzz --no-default-features \
    "${targets[@]/#/--bin=}"
rm -f "$out"/profiles/* # of build scripts
objects=()
for target in "${targets[@]}"; do
    "$out/debug/$target" "fuzz/corpus/$target"
    objects+=(-object "$out/debug/$target")
done
"$profdata" merge --sparse -o "$out/merged.profdata" "$out"/profiles/*.profraw
"$cov" export -instr-profile "$out/merged.profdata" "${objects[@]}" -sources "$PWD/core/src" >"$out/regions.json"
python3 fuzz/coverage.py "$out/regions.json" "$least"
echo "measured in $SECONDS s"
