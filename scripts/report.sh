#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sourced after lib.sh by everything that tests: one line on standard output for each case,
# "ok NAME" or "not ok NAME", which `test` counts. Why a case failed goes to standard error.

FAILED=0

ok() { echo "ok $*"; }

not_ok() {
	FAILED=$((FAILED + 1))
	echo "not ok $*"
}

# check NAME PROGRAM...: one case: PROGRAM succeeds
check() {
	local name=$1 log
	shift
	log=$CACHE/log/check-${name//[^a-zA-Z0-9]/-}.log
	mkdir -p "$CACHE/log"
	if "$@" >"$log" 2>&1 </dev/null; then
		ok "$name"
	else
		not_ok "$name"
		tail -n 40 "$log" | sed 's/^/  | /' >&2
	fi
}

# report: to end with
report() { exit $((FAILED != 0)); }
