#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sourced after lib.sh: which tools build what. Everything can be set from outside.
# Debian's own Rust is named by path: one from rustup that comes first in PATH is not the
# one that the kernel's configuration was tested with.

# shellcheck disable=SC2034 # most are for those who source this

RUSTC=${RUSTC:-/usr/bin/rustc}
CARGO=${CARGO:-/usr/bin/cargo}
RUSTDOC=${RUSTDOC:-/usr/bin/rustdoc}
RUSTFMT=${RUSTFMT:-/usr/bin/rustfmt}
CARGO_CLIPPY=${CARGO_CLIPPY:-/usr/bin/cargo-clippy}
CARGO_FMT=${CARGO_FMT:-/usr/bin/cargo-fmt}
CLIPPY_DRIVER=${CLIPPY_DRIVER:-/usr/bin/clippy-driver}
LLVM=${LLVM:--19}
CROSS_COMPILE=${CROSS_COMPILE:-aarch64-linux-gnu-}
QEMU=${QEMU:-qemu-system-aarch64}
# One for each copy of the repository: cargo goes by the age of files, and would take those of
# another copy for its own.
CARGO_TARGET_DIR=$CACHE/target/$(key <<<"$REPO")
export RUSTC CARGO RUSTDOC RUSTFMT CARGO_TARGET_DIR

# LLVM=-19 is a suffix, LLVM=/path/bin/ a prefix: as for the kernel's build.
case $LLVM in
*/) LLVM_PREFIX=$LLVM LLVM_SUFFIX= ;;
-*) LLVM_PREFIX='' LLVM_SUFFIX=$LLVM ;;
*) LLVM_PREFIX='' LLVM_SUFFIX= ;;
esac
CLANG=${LLVM_PREFIX}clang$LLVM_SUFFIX
LLD=${LLVM_PREFIX}ld.lld$LLVM_SUFFIX
LLVM_OBJCOPY=${LLVM_PREFIX}llvm-objcopy$LLVM_SUFFIX
LLVM_AR=${LLVM_PREFIX}llvm-ar$LLVM_SUFFIX
LLVM_NM=${LLVM_PREFIX}llvm-nm$LLVM_SUFFIX
# For bare-metal programs rustc would use the linker of its own that Debian does not ship.
export CARGO_TARGET_AARCH64_UNKNOWN_NONE_SOFTFLOAT_LINKER=$LLD

# Debian 13 has a bindgen that is new enough; for Debian 12 `setup` builds one.
BINDGEN_VERSION=0.72.1
if [[ -z ${BINDGEN:-} ]]; then
	BINDGEN=$CACHE/bindgen-$BINDGEN_VERSION/bin/bindgen
	if [[ ! -x $BINDGEN ]]; then BINDGEN=bindgen; fi
fi

# What compiles Rust for the kernel; tree.sh says where that is another one.
KERNEL_RUSTC=$RUSTC

# The variables of every `make` in a kernel tree.
kernel_vars=(ARCH=arm64 "LLVM=$LLVM" "RUSTC=$RUSTC" "RUSTDOC=$RUSTDOC" "RUSTFMT=$RUSTFMT"
	"BINDGEN=$BINDGEN" "CLIPPY_DRIVER=$CLIPPY_DRIVER"
	KBUILD_BUILD_USER=build KBUILD_BUILD_HOST=localhost)

# toolchain_id: what a key needs to know of the tools that build a kernel
toolchain_id() {
	"$CLANG" --version | sed -n 1p
	"$KERNEL_RUSTC" --version
	"$BINDGEN" --version
}
