#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sourced after lib.sh and apt.sh: Debian's packages for arm64. They are only unpacked: the system
# need not know of a foreign architecture.

# arm64_ready SUITE: the lists of one suite, which are read once a day; sets ARM64_CONF
arm64_ready() {
	local state=$APT/arm64-$1
	ARM64_CONF=$state/apt.conf
	apt_ready
	if [[ -n $(find "$state/ready" -mmin -1440 2>/dev/null) ]]; then return 0; fi
	mkdir -p "$state/lists/partial"
	grep -E "^deb \[.*\] [^ ]+ $1 main\$" "$APT/sources.list" >"$state/sources.list" ||
		die "no mirror for Debian's suite '$1'"
	cat "$APT/apt.conf" - >"$ARM64_CONF" <<-END
		Dir::Etc::SourceList "$state/sources.list";
		Dir::State::Lists "$state/lists";
		#clear APT::Architectures;
		APT::Architectures { "arm64"; };
		APT::Architecture "arm64";
	END
	logged "$CACHE/log/arm64-update.log" apt-get -c "$ARM64_CONF" update -q --error-on=any
	touch "$state/ready"
}

# arm64_unpack DIR PACKAGE...: download them and unpack them into DIR
arm64_unpack() (
	local dir=$1 package
	shift
	mkdir -p "$dir.debs"
	cd "$dir.debs" || exit
	logged "$CACHE/log/download.log" apt-get -c "$ARM64_CONF" download "${@/%/:arm64}"
	for package in *.deb; do dpkg -x "$package" "$dir"; done
	rm -rf "$dir.debs"
)

# arm64_busybox: a directory with a static busybox, from the same release as this machine
arm64_busybox() {
	(cached "$CACHE/busybox-arm64" fetch_busybox)
	echo "$CACHE/busybox-arm64"
}

fetch_busybox() {
	local release
	say "downloading busybox-static for arm64"
	apt_ready
	release=$(sed -n 's/^deb \[.*\] [^ ]* \([a-z]*\) main$/\1/p' "$APT/sources.list" | sed -n 1p)
	arm64_ready "$release"
	arm64_unpack "$1/unpacked" busybox-static
	# /bin in Debian 12, /usr/bin after it.
	cp "$1"/unpacked/{,usr/}bin/busybox "$1/" 2>/dev/null || true
	rm -rf "$1/unpacked"
	[[ -x $1/busybox ]] || die "Debian's busybox-static has no busybox"
}

# archive ROOT: ROOT as an archive that the kernel unpacks, on standard output. Nothing of this
# build's time, order or user is in it.
archive() {
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . -print0 | sort -z |
		cpio --null --reproducible -o -H newc --owner=0:0 --quiet)
}
