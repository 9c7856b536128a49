# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What `make run` shows: the component starts, Linux boots in a realm and checks itself, and what
# that took of the host. Parameters: cpus=N and memory=MIB of the guest.
# time-limit: 300

. "${0%/*}/lib.sh"

# stat KEY: what the VMM counted
stat() {
	sed -n "s/^$1 //p" /tmp/demo.stats
}

# tenths MICROSECONDS: as seconds
tenths() {
	echo "$(($1 / 1000000)).$(($1 / 100000 % 10)) s"
}

load || fail "the component did not load: $(dmesg | grep kvm_arm_rmi | tail -n 1)"
echo
echo 'The host, Linux at EL2:'
dmesg | grep 'kvm_arm_rmi: RMI' | sed 's/^/  /' | tee /tmp/lines
grep -q 'RMI [12]\.0 active' /tmp/lines || fail 'the kernel log does not say that RMI is active'

echo
echo "The guest, Linux in a realm with ${cpus:=2} vCPUs and ${memory:=256} MiB:"
realm-check make-disk /tmp/disk 8
# With a PMU, if realms can have one.
pmu=$(most_counters)
before=$(calls smcs)
{
	status=0
	linux-realm --cpus "$cpus" --memory "$memory" ${pmu:+--pmu "$pmu"} --disk /tmp/disk \
		--cmdline "swiotlb=8192,track_hiwater check=realm cpus=$cpus" --stats /tmp/demo.stats </dev/null 2>&1 || status=$?
	echo $status >/tmp/status
} | tee /tmp/demo.log | while IFS= read -r line; do echo "  | $line"; done
status=$(cat /tmp/status)
[ "$status" = 0 ] || fail "the VMM's exit status is $status"
grep -q '^realm-check: .* 0 failed' /tmp/demo.log || fail 'the guest did not pass its own checks'
[ -z "$pmu" ] || grep -q '^  ok       performance counters: ' /tmp/demo.log || fail 'the guest has no PMU'
realm-check verify-disk /tmp/disk || fail 'the disk does not have what the guest wrote'

echo
echo 'Summary:'
line() { printf '  %-20s %s\n' "$1" "$2"; }
line "guest's self-check" "$(sed -n 's/^realm-check: //p' /tmp/demo.log)"
line 'its memory at start' "$(($(stat populate_bytes) >> 10)) KiB populated in $(tenths "$(stat populate_microseconds)")"
line 'its boot' "$(sed -n 's/^guest: .* up after \(.*\)/\1/p' /tmp/demo.log), $(tenths "$(stat run_microseconds)") in all"
line 'calls of the RMM' "$(($(calls smcs) - before)), of which $(calls smcs REC_ENTER) to run the guest's CPUs"
line 'exits to the VMM' "$(($(stat exit_mmio_read) + $(stat exit_mmio_write))) for devices, $(stat exit_memory_fault) to convert memory"
line 'converted' "$(($(stat to_shared_bytes) >> 10)) KiB to shared, $(($(stat to_private_bytes) >> 10)) KiB to private"
line 'delegated memory' "$(($(value granules delegated_peak) * 4 / 1024)) MiB at most, $(value granules delegated) at the end"
nothing_left
pass
