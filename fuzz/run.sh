#!/usr/bin/env bash
# Every target under libFuzzer from the committed corpora: by default a number of runs that takes each some ten seconds, or
# as many RUNS, or for SECONDS. What is found on the way is thrown away, unless FOUND names a folder to keep it in; an
# input that fails stays in fuzz/artifacts. Wants nightly Rust, cargo-fuzz and a C++ compiler; says so where they are not.
#
#   fuzz/run.sh                          the same runs each time: a fixed number of them, from a fixed seed
#   RUNS=20000 SEED=7 fuzz/run.sh hub    so many, from another seed
#   SEED=$RANDOM fuzz/run.sh 600 hub     for ten minutes
set -euo pipefail
cd "$(dirname "$0")/.."
limit=()
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    limit=("-max_total_time=$1")
    shift
fi
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(frames hub resume jwt gguf tokenizer)
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "left out: rustup toolchain install nightly, and cargo install cargo-fuzz, make it possible" >&2
    exit 0
fi

# Runs of a target that take some ten seconds, on one core of 2024, the replay of its corpus counted in.
runs_of() {
    case $1 in
    frames) echo 3000 ;;
    hub) echo 1000 ;;
    resume) echo 220 ;;
    jwt) echo 9000 ;;
    gguf) echo 9000 ;;
    tokenizer) echo 40000 ;;
    *)
        echo "there is no target $1" >&2
        exit 2
        ;;
    esac
}

found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
for target in "${targets[@]}"; do
    features=()
    case $target in
    frames | hub | resume) features=(--no-default-features) ;;
    jwt) features=(--no-default-features --features tokens) ;;
    esac
    keep=${FOUND:-$found}/$target
    mkdir -p "$keep"
    runs=${RUNS:-$(runs_of "$target")}
    cargo +nightly fuzz run --fuzz-dir fuzz "${features[@]}" "$target" "$keep" "fuzz/corpus/$target" -- \
        "${limit[@]:--runs=$runs}" -seed="${SEED:-1}" -max_len=8192 -timeout=60 -rss_limit_mb=2048 -malloc_limit_mb=512 \
        -print_final_stats=1
done
