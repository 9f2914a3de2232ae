//! Tells the comparison which compiler it was built with, for its records.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").expect("cargo names the compiler to build scripts");
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo::rustc-env=CAUSERIE_RUSTC={}", version.lines().next().unwrap_or("rustc, version unknown"));
}
