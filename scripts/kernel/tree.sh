#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sourced after lib.sh, apt.sh and toolchain.sh: the kernel tree that we build in.
#
# It is a workspace, updated file by file, so that after a change to a patch or to the
# component make rebuilds what depends on it and no more. Finished results go elsewhere,
# under a key made from all of their inputs. kernel_tree sets:
#
#   WORK        the workspace: component/, src/ (unless KDIR serves), output directories
#   SRC         the patched source tree
#   TREE_KEY    what SRC is made from
#   ORIG        the tree that SRC is patched from; empty if KDIR is patched already
#   ORIG_KEY    what ORIG is
#   KDIR_BUILT  set if KDIR is a configured and built tree, to be used as it is
#
# Overrides: KERNEL, the series: 7.3 unless KDIR is another that we have patches for.

# shellcheck source=/dev/null
source "$REPO/scripts/kernel/rust.sh"

KERNEL_SERIES=${KERNEL:-7.3}

# The patches for the newest kernel, and in folders of their own those for others.
patches_dir() {
	local dir=scripts/patches
	if [[ $KERNEL_SERIES != 7.3 ]]; then dir+=/$KERNEL_SERIES; fi
	echo "$dir"
}

# check_series: whether we have patches for the series
check_series() {
	case $KERNEL_SERIES in
	7.3 | 6.12) ;;
	*) die "$1 Linux $KERNEL_SERIES; our patches are for 7.3 and 6.12" ;;
	esac
}

# What the kernel's build reads of this repository.
COMPONENT_PATHS=(Kbuild Kconfig rust rmi realm rec exit mmu guest_memfd uapi)

copy_if_changed() {
	cmp -s "$1" "$2" || install -D -m "$(stat -L -c %a "$1")" "$1" "$2"
}

# sync_component DIR: our part of the tree. A copy that goes by content: other clones may
# share this cache, and the times of their files do not say which is newer.
sync_component() {
	local dir=$1 file
	mkdir -p "$dir"
	files "${COMPONENT_PATHS[@]}" >"$dir.files"
	while read -r file; do copy_if_changed "$REPO/$file" "$dir/$file"; done <"$dir.files"
	(cd "$dir" && find . -type f -printf '%P\n') | sort | comm -23 - <(sort "$dir.files") |
		while read -r file; do rm -f "$dir/$file"; done
}

# unpack_kernel DIR: Debian's source package of the kernel
unpack_kernel() {
	need_space 4 'unpacking and building the kernel'
	say "unpacking $(basename "$DEB") ($(size "$DEB"))"
	dpkg-deb --fsys-tarfile "$DEB" | tar -xO "./usr/src/linux-source-$KERNEL_SERIES.tar.xz" |
		tar -C "$1" --strip-components=1 -xJ
}

# The page beside them changes nothing that is built.
patches_contents() { (cd "$REPO" && contents "$(patches_dir)"/*.patch); }

all_patches() { find "$REPO/$(patches_dir)" -maxdepth 1 -name '*.patch' | sort; }

# apply_patches ORIG PATCH...: bring SRC from the patches it has to these
apply_patches() {
	local orig=$1 dir patch file
	dir=$(dirname "$SRC")
	local stage=$dir/stage patches=("${@:2}")
	touch "$dir/patched"
	sed -n 's,^\(---\|+++\) [ab]/\([^[:blank:]]*\).*,\2,p' "$dir/patched" "${patches[@]}" |
		cat - "$dir/patched" | sort -u >"$dir/touched"
	cp "$dir/touched" "$dir/patched"

	rm -rf "$stage"
	mkdir -p "$stage"
	while read -r file; do
		if [[ -e $orig/$file ]]; then copy_if_changed "$orig/$file" "$stage/$file"; fi
	done <"$dir/touched"
	for patch in "${patches[@]}"; do
		patch -d "$stage" -p1 -f -s --fuzz=0 --no-backup-if-mismatch <"$patch" >&2 ||
			die "${patch##*/} does not apply to ${KDIR:-${WORK##*/}}: this is not Linux $KERNEL_SERIES as it was published, or has other patches"
	done
	while read -r file; do
		if [[ -e $stage/$file ]]; then
			copy_if_changed "$stage/$file" "$SRC/$file"
		else
			rm -f "$SRC/$file"
		fi
	done <"$dir/touched"
	rm -rf "$stage" "$dir/touched"
	ln -sfnr "$WORK/component" "$SRC/arch/arm64/kvm/rmi"
}

# copy_kernel ORIG: a fresh SRC, by hard links where the original is ours to share
copy_kernel() {
	rm -rf "$SRC.new"
	if [[ $1 == "$CACHE"/* ]]; then
		cp -al "$1" "$SRC.new"
	else
		need_space 4 'copying and building the kernel'
		say "copying $1 (it stays untouched) and patching the copy"
		mkdir -p "$SRC.new"
		tar -C "$1" --exclude=./.git --exclude='*.o' --exclude='*.cmd' -c . |
			tar -C "$SRC.new" -x
	fi
	mv "$SRC.new" "$SRC"
}

kernel_series() {
	awk '$1 == "VERSION" { v = $3 } $1 == "PATCHLEVEL" { print v "." $3; exit }' "$1/Makefile"
}

# kdir_tree: what the user's own tree is, and how far it is already ours
kdir_tree() {
	local source=$KDIR
	[[ -d $KDIR ]] || die "KDIR=$KDIR is not a directory"
	KDIR=$(realpath "$KDIR")
	if [[ -e $KDIR/source ]]; then source=$(realpath "$KDIR/source"); fi
	[[ -e $source/Kbuild && -d $source/arch/arm64/kvm ]] || die "KDIR=$KDIR is not a kernel tree"
	KERNEL_SERIES=$(kernel_series "$source")
	check_series "KDIR=$KDIR is"
	[[ ${KERNEL:-$KERNEL_SERIES} == "$KERNEL_SERIES" ]] ||
		die "KDIR=$KDIR is Linux $KERNEL_SERIES, not $KERNEL as KERNEL= says"
	[[ -e $source/rust/kernel/lib.rs ]] ||
		die "KDIR=$KDIR has no Rust (rust/kernel), which the component is written in"
	TREE_KEY=$KDIR$(git -C "$source" rev-parse HEAD 2>/dev/null || true)
	WORK=$CACHE/linux/kdir-$(key <<<"$TREE_KEY")
	mkdir -p "$WORK"
	if [[ -e $source/arch/arm64/include/asm/kvm_rmi.h ]]; then
		SRC=$source
		if [[ -e $KDIR/.config ]]; then
			[[ -e $KDIR/Module.symvers && -e $KDIR/arch/arm64/boot/Image ]] ||
				die "KDIR=$KDIR is configured but not built: run 'make ARCH=arm64 LLVM=$LLVM Image modules' there"
			grep -qx CONFIG_RUST=y "$KDIR/.config" ||
				die "KDIR=$KDIR is built without Rust (CONFIG_RUST), which the component is written in"
			KDIR_BUILT=1
		elif grep -q arm64/kvm/rmi "$KDIR/arch/arm64/kvm/Kconfig" &&
			[[ ! -e $KDIR/arch/arm64/kvm/rmi/Kconfig ]]; then
			die "KDIR=$KDIR is patched but lacks our folder: ln -s $REPO $KDIR/arch/arm64/kvm/rmi"
		fi
	else
		[[ $source == "$KDIR" ]] || die "KDIR=$KDIR was built from a tree without our patches"
		SRC=$WORK/src
		ORIG_KEY=$TREE_KEY
		TREE_KEY+=$(patches_contents)
		ORIG=$KDIR
	fi
}

kernel_tree() {
	# shellcheck disable=SC2034 # for those who source this
	ORIG='' ORIG_KEY='' KDIR_BUILT=''
	if [[ ${KDIR:-} ]]; then
		kdir_tree
		kernel_rust
		return
	fi
	check_series "KERNEL=$KERNEL_SERIES is"
	kernel_rust
	DEB=$(downloaded "linux-source-${KERNEL_SERIES}_*.deb")
	if [[ -z $DEB ]]; then
		need_space 5 "the kernel's source and build"
		say "downloading the source of Linux $KERNEL_SERIES (about 160 MB)"
		apt_ready
		(apt_download download "linux-source-$KERNEL_SERIES") ||
			die "cannot download linux-source-$KERNEL_SERIES from Debian. KDIR= takes a Linux $KERNEL_SERIES tree of your own."
		DEB=$(downloaded "linux-source-${KERNEL_SERIES}_*.deb")
	fi
	ORIG_KEY=$(basename "$DEB")
	TREE_KEY=$ORIG_KEY$(patches_contents)
	WORK=$CACHE/linux/$(basename "$DEB" .deb | cut -d _ -f 2 | tr -c 'A-Za-z0-9._\n' -)
	SRC=$WORK/src
	ORIG=$WORK/orig
}

# orig_prepare: ORIG is there, which nothing changes
orig_prepare() {
	if [[ $ORIG == "$WORK/orig" ]]; then (cached "$ORIG" unpack_kernel); fi
}

# update_source: SRC from ORIG and our patches
update_source() {
	local patches
	orig_prepare
	if [[ ! -d $SRC ]]; then copy_kernel "$ORIG"; fi
	mapfile -t patches < <(all_patches)
	apply_patches "$ORIG" "${patches[@]}"
}

# kernel_prepare: bring the workspace up to date, and keep it so until the caller ends
kernel_prepare() {
	current "$WORK/component" "$(contents "${COMPONENT_PATHS[@]}")" sync_component "$WORK/component"
	if [[ $ORIG ]]; then current "$WORK/src" "$TREE_KEY" update_source; fi
}
