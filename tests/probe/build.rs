// SPDX-License-Identifier: GPL-2.0

//! Hands the linker its script and the addresses that the script shares with the code.

#[path = "src/layout.rs"]
#[allow(dead_code, reason = "the script needs only a part of it")]
mod layout;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=probe.ld");
    println!("cargo::rerun-if-changed=src/entry.S");
    println!("cargo::rerun-if-changed=src/layout.rs");

    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!(
        "cargo::rustc-link-arg-bins=--defsym=BASE={:#x}",
        layout::BASE
    );
    println!(
        "cargo::rustc-link-arg-bins=--defsym=LIMIT={:#x}",
        layout::LIMIT
    );
    println!("cargo::rustc-link-arg-bins=-T{directory}/probe.ld");
    println!("cargo::rustc-link-arg-bins=--orphan-handling=error");
}
