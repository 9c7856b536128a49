# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What happens to a guest of QEMU's in its life, beside booting: in realms and in an ordinary VM.
# time-limit: 1200
# guest: own
# vmm: needed

. "${0%/*}/lib.sh"

# start realm|no-realm CPUS CMDLINE [OPTION...]: QEMU in the background. Its monitor and the guest's
# console are pipes; what they say is in /tmp/guest.log and /tmp/monitor.log.
start() {
	rm -f /tmp/console /tmp/monitor.in /tmp/monitor.out
	mkfifo /tmp/console /tmp/monitor.in /tmp/monitor.out
	kind=$1
	cpus=$2
	cmdline=$3
	shift 3
	"qemu-$kind" "$cpus" 256 "quiet $cmdline" -chardev pipe,id=monitor,path=/tmp/monitor \
		-mon chardev=monitor "$@" </tmp/console >/tmp/guest.log 2>&1 &
	vmm=$!
	cat /tmp/monitor.out >/tmp/monitor.log &
	exec 7>/tmp/console 8<>/tmp/monitor.in
}

# said FILE REGEX [TIMES]: waits until that is there so often, or QEMU has ended without it
said() {
	until [ "$(grep -cE "$2" "$1")" -ge "${3:-1}" ]; do
		if ! kill -0 $vmm 2>/dev/null && [ "$(grep -cE "$2" "$1")" -lt "${3:-1}" ]; then
			logs
			fail "QEMU ended; '$2' does not stand ${3:-1} times in $1"
		fi
		sleep 0.2
	done
}

# logs: what the guest and QEMU have said
logs() {
	sed 's/^/  | /' /tmp/guest.log /tmp/monitor.log
}

# guest COMMAND: has the guest's shell do it and waits until it has
guest() {
	count=$((${count:-0} + 1))
	# The terminal echoes the command: what is waited for is not in it.
	echo "$1; echo done-\$((1000 + $count))-\$?" >&7
	said /tmp/guest.log "^done-$((1000 + count))-0"
}

# ended STATUS: QEMU ends, with that status, and leaves nothing
ended() {
	status=0
	wait $vmm || status=$?
	exec 7>&- 8>&-
	if [ $status != "$1" ]; then
		logs
		fail "QEMU's exit status is $status, not $1"
	fi
	nothing_left
}

# checked WHAT: QEMU ends well, and the guest has passed its own checks
checked() {
	ended 0
	if ! grep -q '^realm-check: .* 0 failed' /tmp/guest.log; then
		logs
		fail "$1: the guest did not pass its own checks"
	fi
	echo "  $1: $(grep '^realm-check: ' /tmp/guest.log)"
}

# paused realm|no-realm CPUS CHECK: a guest is stopped and continued while it checks itself
paused() {
	start "$1" "$2" "check=$3 cpus=$2"
	said /tmp/guest.log '^guest: '
	for i in $(seq 5); do
		printf 'stop\ninfo status\n' >&8
		said /tmp/monitor.log '^VM status: paused' "$i"
		printf 'cont\ninfo status\n' >&8
		said /tmp/monitor.log '^VM status: running' "$i"
	done
	checked "$1, $2 CPUs, stopped and continued 5 times"
}

# populating: whether the realm has memory and has not run yet
populating() {
	for dir in "$component_debugfs/vm-$vmm"-*; do
		case $(sed -n 's/^state: //p' "$dir/state" 2>/dev/null) in
		New | busy)
			[ "$(sed -n 's/^mapped_private: //p' "$dir/granules" 2>/dev/null || echo 0)" -gt 0 ] && return
			;;
		esac
	done
	return 1
}

# populate_stopped: QEMU itself is stopped and continued while it puts the guest's images in
populate_stopped() {
	stops=0
	until [ $stops -gt 0 ]; do
		start realm 1 'check=realm cpus=1'
		until grep -q '^guest: ' /tmp/guest.log; do
			kill -STOP $vmm 2>/dev/null || break
			if populating; then stops=$((stops + 1)); fi
			kill -CONT $vmm
		done
		checked "stopped $stops times by SIGSTOP while it populated"
	done
}

# display: the guest draws on an emulated display, twice, and QEMU sees both
display() {
	start realm 2 '' -device bochs-display,addr=10,romfile=
	said /tmp/guest.log '^A guest; '
	device=/sys/bus/pci/devices/0000:00:10.0
	guest "echo 1 >$device/enable"
	# Its registers are those of BAR 2 at 0x500: width, height, bits of a pixel, and on. devmem maps
	# what /dev/mem leads to.
	guest "rm /dev/mem && ln -s $device/resource2 /dev/mem"
	guest 'devmem 0x502 16 640 && devmem 0x504 16 480 && devmem 0x506 16 32 && devmem 0x508 16 0x41'
	guest "rm /dev/mem && ln -s $device/resource0 /dev/mem"
	for i in 1 2; do
		guest "devmem 0x$((i * 4)) 32 0x00414243"
		printf 'screendump /tmp/screen\ninfo status\n' >&8
		said /tmp/monitor.log '^VM status: running' $i
		# Three bytes for each pixel, after a head of three lines.
		[ "$(tail -c $((640 * 480 * 3)) /tmp/screen | tail -c +$((i * 3 + 1)) | head -c 3)" = ABC ] ||
			fail "pixel $i is not what the guest has drawn"
	done
	echo 'poweroff -f' >&7
	ended 0
	echo '  a display: QEMU sees what the guest draws'
}

# reset CMDLINE [COMMAND [OPTION...]]: the guest resets itself, or the monitor's COMMAND does it; that
# is the end of a realm
reset() {
	start realm 2 "$1" ${3:+"$3" "$4"}
	if [ "$2" ]; then
		said /tmp/guest.log '^A guest; '
		echo "$2" >&8
	fi
	ended 0
	echo "  reset: $*"
}

load
qemu_has_realms
for cpus in 1 4; do
	paused realm $cpus realm
done
paused no-realm 4 ordinary
populate_stopped
display
reset check=reset ''
reset check=reset '' -action reboot=reset
reset '' system_reset
reset '' system_reset -action reboot=reset
unload
pass
