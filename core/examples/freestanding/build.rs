//! Links the program with nothing: no start files, no libc, no relocation at run time.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A bare target is linked so anyway; where there is an operating system, its linker driver adds things.
    if var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    // The name by which cargo knows the linker, where it was told one: a plain linker knows no start files.
    let plain = var("RUSTC_LINKER").is_ok_and(|linker| linker.ends_with("lld"));
    let arguments: &[&str] =
        if plain { &["-static", "--no-pie"] } else { &["-nostartfiles", "-nostdlib", "-static", "-no-pie"] };
    for argument in arguments {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
