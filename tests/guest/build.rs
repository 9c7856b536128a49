// SPDX-License-Identifier: GPL-2.0

//! Hands the linker its script and the places that the script shares with the code.

#[path = "src/layout.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it is the library's, and the script needs only a part of it"
)]
mod layout;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=guest.ld");
    println!("cargo::rerun-if-changed=src/entry.S");
    println!("cargo::rerun-if-changed=src/layout.rs");

    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let limit = layout::BASE + layout::IMAGE_SIZE;
    println!(
        "cargo::rustc-link-arg-bins=--defsym=BASE={:#x}",
        layout::BASE
    );
    println!("cargo::rustc-link-arg-bins=--defsym=LIMIT={limit:#x}");
    println!("cargo::rustc-link-arg-bins=-T{directory}/guest.ld");
    println!("cargo::rustc-link-arg-bins=--orphan-handling=error");
}
