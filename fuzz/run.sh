#!/usr/bin/env bash
# Every target under libFuzzer for so many seconds, from the committed corpora; what it finds on the way is thrown away, and
# an input that fails stays in fuzz/artifacts. Wants nightly Rust, cargo-fuzz and a C++ compiler; says so where they are not.
#
#   [SEED=1] fuzz/run.sh [SECONDS [TARGET...]]     with a seed, nearly the same inputs each time
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-15}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(frames hub resume jwt gguf tokenizer)
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "left out: rustup toolchain install nightly, and cargo install cargo-fuzz, make it possible" >&2
    exit 0
fi
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
for target in "${targets[@]}"; do
    features=()
    case $target in
    frames | hub | resume) features=(--no-default-features) ;;
    jwt) features=(--no-default-features --features tokens) ;;
    esac
    mkdir "$found/$target"
    cargo +nightly fuzz run --fuzz-dir fuzz "${features[@]}" "$target" "$found/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -seed="${SEED:-0}" -max_len=8192 -timeout=30 -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1
done
