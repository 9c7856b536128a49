#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sourced after lib.sh by what boots a host: what that starts from, and whether it went well, by what
# it said. Whoever calls has set
#   dir, console  the directory of the logs, and Linux's among them
#   limit         how many seconds it had
#   started       when it began, in seconds
# and the environment may have
#   ARCHIVE       more files for the initramfs (see `guest`, `vmm` and `selftests`), between blanks
#   QUIET         set: on failure show the console's end
#   ALLOW         a regular expression: complaints of the kernel that are expected
#   EXPECT        a regular expression: success is that the console has it, whatever else happens (for
#                 a kernel that is meant to die)

# one_initrd DIR INITRAMFS: INITRAMFS with the archives that ARCHIVE names; prints its path. Linux
# unpacks archives that follow each other, with zeroes between them. They are in one file, since what is
# between files is not zeroes any more after a reset.
one_initrd() {
	local file
	if [[ ! ${ARCHIVE:-} ]]; then
		echo "$2"
		return
	fi
	for file in "$2" $ARCHIVE; do
		cat "$file"
		head -c $((-$(stat -L -c %s "$file") & 4095)) /dev/zero
	done >"$1/initramfs"
	echo "$1/initramfs"
}

# What a kernel says when something is wrong with it, whatever the test inside thinks.
complaints='Kernel panic|Oops|WARNING:|BUG:|Internal error|Call trace:|INFO: (task|rcu)|Unable to handle kernel|UBSAN:|page allocation failure|DEBUG_LOCKS_WARN'

# failed WHY
# shellcheck disable=SC2154 # set by whoever calls
failed() {
	{
		echo "boot failed after $((EPOCHSECONDS - started)) s: $1"
		if [[ ${QUIET:-} ]]; then tail -n 25 "$console" | tr -d '\r' | sed 's/^/  | /'; fi
		if [[ ! -s $console ]]; then
			echo "  (nothing on Linux's console; the firmware's last lines:)"
			tail -n 15 "$dir/firmware.log" 2>/dev/null | tr -d '\r' | sed 's/^/  | /'
			sed 's/^/  | /' "$dir/machine.log"
		fi
		echo "  logs: $dir"
	} >&2
	exit 1
}

# verdict STATUS: ends this shell, with success if, and only if, all went well. STATUS is that of the
# emulator.
# shellcheck disable=SC2154 # as above
verdict() {
	local status=$1 complaint result

	complaint=$(grep -aE "$complaints" "$console" |
		if [[ ${ALLOW:-} ]]; then grep -avE "$ALLOW"; else cat; fi | sed -n 1p | tr -d '\r' || true)
	result=$(sed -n 's/^kvm_arm_rmi-result: \([0-9]*\).*/\1/p' "$console" | tail -n 1)

	if ((status == 124 || status == 137)); then failed "time limit of $limit s"; fi
	if [[ ${EXPECT:-} ]]; then
		grep -aqE "$EXPECT" "$console" || failed "the console has no line with '$EXPECT'"
		exit 0
	fi
	if [[ $complaint ]]; then failed "the kernel complained: $complaint"; fi
	if [[ -z $result ]]; then failed "the host ended without a result (the emulator's status: $status)"; fi
	if ((result)); then
		echo "$result failed inside; logs: $dir" >&2
		exit 1
	fi
	exit 0
}
