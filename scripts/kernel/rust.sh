#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sourced by tree.sh: the Rust that a kernel is built with, where that is not the system's.

# Linux 6.12 is Debian 13's, and so is what compiles its Rust.
OLD_RUST=1.85

# kernel_rust: sets KERNEL_RUSTC, and what the kernel's build wants to know of it. Whoever names a RUSTC
# has one.
kernel_rust() {
	local dir=$CACHE/rust-$OLD_RUST
	if [[ $KERNEL_SERIES != 6.12 || $RUSTC != /usr/bin/rustc ]]; then return 0; fi
	case $("$RUSTC" --version 2>/dev/null || true) in "rustc $OLD_RUST."*) return 0 ;; esac
	(cached "$dir" fetch_rust)
	KERNEL_RUSTC=$dir/bin/rustc
	# What comes last counts.
	kernel_vars+=("RUSTC=$KERNEL_RUSTC" "RUSTDOC=$dir/bin/rustdoc" "RUSTFMT=$dir/bin/rustfmt"
		"CLIPPY_DRIVER=$dir/bin/clippy-driver")
}

# fetch_rust DIR: that of Debian, unpacked: the system's own stays as it is
fetch_rust() {
	local names version tool
	apt_ready
	# Debian 12 has one for its browsers.
	case $(debian_release) in
	12) names=(rustc-web "libstd-rust-web-$OLD_RUST" libstd-rust-web-dev rust-web-src rust-web-clippy rustfmt-web) ;;
	*) names=(rustc "libstd-rust-$OLD_RUST" libstd-rust-dev rust-src rust-clippy rustfmt) ;;
	esac
	version=$(apt-cache -c "$APT/apt.conf" madison "${names[0]}" |
		awk -F ' *[|] *' -v old="$OLD_RUST." 'index($2, old) == 1 { print $2; exit }')
	[[ $version ]] ||
		die "Debian has no ${names[0]} $OLD_RUST for this release any more, with which Linux $KERNEL_SERIES is built: RUSTC= names one"
	say "downloading Rust $OLD_RUST for Linux $KERNEL_SERIES (115 MB)"
	mkdir -p "$1/debs" "$1/bin"
	(cd "$1/debs" && logged "$CACHE/log/rust.log" \
		apt-get -c "$APT/apt.conf" download "${names[@]/%/=$version}")
	for tool in "$1"/debs/*.deb; do dpkg -x "$tool" "$1"; done
	rm -rf "$1/debs"
	for tool in rustc rustdoc rustfmt clippy-driver; do
		# Their libraries are where nobody looks for them.
		cat >"$1/bin/$tool" <<-END
			#!/bin/sh
			LD_LIBRARY_PATH=$(echo "$1"/usr/lib/*-linux-gnu) exec "$1/usr/bin/$tool" "\$@"
		END
		chmod 755 "$1/bin/$tool"
	done
}
