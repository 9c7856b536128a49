#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sourced by every script here: messages and checks; and, with cache.sh, keys and results.
# Results go to standard output, everything meant for people to standard error.

set -euo pipefail
shopt -s inherit_errexit

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=$(realpath -m "${CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kvm_arm_rmi}")
RMI_STARTED=${RMI_STARTED:-$EPOCHSECONDS}
export CACHE RMI_STARTED
# `make run NAME=value` would hand its variables on to every make that we start.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
# Sorting and messages must not depend on who runs this.
export LC_ALL=C

elapsed() {
	local s=$((EPOCHSECONDS - ${1:-RMI_STARTED}))
	printf '%02d:%02d' $((s / 60)) $((s % 60))
}

say() { printf '  %s\n' "$*" >&2; }

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# step TEXT: one numbered step of a command that set STEPS
step() {
	STEP=$((${STEP:-0} + 1))
	# shellcheck disable=SC2153 # set by the caller
	printf '[%d/%d %s] %s\n' "$STEP" "$STEPS" "$(elapsed)" "$*" >&2
}

# The kernel's own build refuses such a directory, but says so only after minutes.
case $CACHE in *[[:space:]:%]*)
	die "CACHE=$CACHE: the kernel build does not accept blanks, ':' or '%' in a path"
	;;
esac

# need_space GB WHAT [DIR]: stop before a big step that the disk cannot take
need_space() {
	local where=${3:-$CACHE} dir have
	dir=$where
	while [[ ! -d $dir ]]; do dir=$(dirname "$dir"); done
	have=$(df -BG --output=avail "$dir" | tail -n 1 | tr -dc 0-9)
	((have >= $1)) ||
		die "$2 needs $1 GB of free space in $where, which has $have GB (CACHE= moves what we build)"
}

# size PATH: for people
size() { { du -shL "$1" 2>/dev/null || true; } | cut -f 1; }

# ticker LOG: shows that the build which writes LOG is alive, and where it is
ticker() {
	local t0=$EPOCHSECONDS every=60 line fd
	# Its last sleep must not hold our locks when we are gone.
	for fd in "${LOCKS[@]}"; do exec {fd}>&-; done
	if [[ -t 2 ]]; then every=1; fi
	while sleep 1 && kill -0 $$ 2>/dev/null; do
		(((EPOCHSECONDS - t0) % every == 0)) || continue
		line=$(tail -n 1 "$1" 2>/dev/null | tr -d '\r' | cut -c 1-60)
		if [[ -t 2 ]]; then
			printf '\r\033[K  %s %s' "$(elapsed "$t0")" "$line" >&2
		else
			printf '  %s %s\n' "$(elapsed "$t0")" "$line" >&2
		fi
	done
}

# logged LOG PROGRAM...: a long PROGRAM, its output in LOG, whose end is shown on failure.
# (A program, not a shell function: `set -e` would not hold inside.)
logged() {
	local log=$1 pid rc=0
	shift
	mkdir -p "$(dirname "$log")"
	: >"$log"
	ticker "$log" &
	pid=$!
	"$@" >>"$log" 2>&1 </dev/null || rc=$?
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
	if ((rc)); then
		tail -n 30 "$log" | sed 's/^/  | /' >&2
		die "'$(basename "$1")' failed with status $rc; all of its output is in $log"
	fi
}

source "$REPO/scripts/cache.sh"
