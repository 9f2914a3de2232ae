#!/usr/bin/env bash
# causerie-core for other processors: the library is built for each, without features and without std; the program of this
# folder is linked where it knows the machine, and runs its conversation under qemu's user mode. It ends with 0 when both
# of its people have read the same answer.
#
#     core/examples/freestanding/processors.sh             what cannot run here (no qemu) is only built, and named
#     CAUSERIE_REQUIRE_QEMU=1 core/examples/...            it is an error then
#
# Ends with 2 where Rust's libraries for these processors are missing and cannot be fetched.
set -euo pipefail
cd "$(dirname "$0")"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$(cd ../../.. && pwd)/target}/processors"

# The target, and who runs its program. `-`: there is none, the library alone is built.
processors=(
    "thumbv6m-none-eabi qemu-arm"              # Cortex-M0: 32 bits, no atomic compare-and-swap
    "thumbv7em-none-eabihf qemu-arm"           # Cortex-M4 and M7
    "riscv32imac-unknown-none-elf -"           # small RISC-V
    "riscv64gc-unknown-none-elf qemu-riscv64"
    "aarch64-unknown-linux-gnu qemu-aarch64"   # linked without the C library all the same
    "wasm32-unknown-unknown -"                 # a browser's worker
)
# The linker that comes with Rust, so that no other toolchain is needed.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=rust-lld

if command -v rustup >/dev/null; then
    rustup target add "${processors[@]%% *}" || exit 2
fi
for processor in "${processors[@]}"; do
    read -r target emulator <<<"$processor"
    if [ "$emulator" = - ]; then
        cargo build --quiet --locked --package causerie-core --lib --target "$target"
        echo "$target: the library is built"
        continue
    fi
    cargo build --quiet --locked --target "$target"
    program="$CARGO_TARGET_DIR/$target/debug/freestanding"
    if command -v "$emulator" >/dev/null; then
        said=$("$emulator" "$program") # a failure of the program is one of this script
        echo "$target: ${said##*# }"
    elif [ -n "${CAUSERIE_REQUIRE_QEMU:-}" ]; then
        echo "$target: there is no $emulator here; install qemu-user" >&2
        exit 1
    else
        echo "$target: linked, and not run: there is no $emulator here"
    fi
done
