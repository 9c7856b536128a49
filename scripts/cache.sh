#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sourced by lib.sh: keys made from the inputs of a build, locks, and finished results.

# downloaded PATTERN: the newest download of that name, or nothing
downloaded() {
	find "$CACHE/download" -name "$1" 2>/dev/null | sort -V | tail -n 1 || true
}

# key: a short name for what arrives on standard input
key() { sha256sum | cut -c 1-16; }

# files PATH...: the files below those of these paths of the repository that exist
files() (
	cd "$REPO" || exit
	for path; do
		if [[ -e $path ]]; then find "$path" -type f; fi
	done | sort
)

# contents PATH...: the same with their hashes, for a key
contents() {
	files "$@" | (cd "$REPO" && xargs -r -d '\n' sha256sum)
}

LOCKS=()

# lock FILE [shared]: hold FILE's lock until this shell ends, so that nothing is built twice at
# a time, nor changed while it is used. Sets LOCK.
lock() {
	mkdir -p "$(dirname "$1")"
	exec {LOCK}>>"$1"
	LOCKS+=("$LOCK")
	relock "$@"
}

# relock FILE [shared]: change the kind of LOCK
relock() {
	local kind=-x
	if [[ ${2:-} ]]; then kind=-s; fi
	if ! flock $kind -n "$LOCK"; then
		say "waiting for another run that uses ${1%.lock}"
		flock $kind "$LOCK"
	fi
}

# current PATH STATE COMMAND...: have COMMAND bring PATH to STATE unless it is there already, and
# keep it so until this shell ends; others may use it at the same time
current() {
	local path=$1 state
	state=$(key <<<"$2")
	shift 2
	lock "$path.lock" shared
	# Between the two kinds of lock another run may come.
	while [[ $(cat "$path.state" 2>/dev/null) != "$state" ]]; do
		relock "$path.lock"
		if [[ $(cat "$path.state" 2>/dev/null) != "$state" ]]; then
			rm -f "$path.state"
			"$@"
			echo "$state" >"$path.state"
		fi
		relock "$path.lock" shared
	done
}

# cached DIR PROGRAM...: `PROGRAM... DIR`, unless an earlier run completed DIR. What an
# interrupted run left is thrown away. Call it in a subshell: it holds a lock.
cached() {
	local dir=$1
	shift
	if [[ -e $dir/.complete ]]; then return 0; fi
	lock "$dir.lock"
	if [[ -e $dir/.complete ]]; then return 0; fi
	rm -rf "$dir"
	mkdir -p "$dir"
	"$@" "$dir"
	touch "$dir/.complete"
}

# forget_old PREFIX: remove results of that kind that are older than a week
forget_old() {
	find "$(dirname "$1")" -mindepth 1 -maxdepth 1 -name "$(basename "$1")*" -mtime +7 \
		-exec rm -rf {} +
}
