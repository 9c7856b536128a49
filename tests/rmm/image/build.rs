// SPDX-License-Identifier: GPL-2.0

//! Hands the linker its script and the addresses that the script shares with the code.

#[path = "src/layout.rs"]
#[allow(dead_code, reason = "the script needs only a part of it")]
mod layout;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=image.ld");
    println!("cargo::rerun-if-changed=src/entry.S");
    println!("cargo::rerun-if-changed=src/layout.rs");

    let symbols = [
        ("TEXT_BASE", layout::TEXT.start),
        ("RODATA_BASE", layout::RODATA.start),
        ("DATA_BASE", layout::DATA.start),
        ("STACKS_BASE", layout::STACKS.start),
        ("BSS_BASE", layout::BSS.start),
        ("BSS_LIMIT", layout::BSS.end),
    ];
    for (name, value) in symbols {
        println!("cargo::rustc-link-arg-bins=--defsym={name}={value:#x}");
    }
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rustc-link-arg-bins=-T{directory}/image.ld");
    println!("cargo::rustc-link-arg-bins=--orphan-handling=error");
}
