# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Sourced by every scenario, which runs on the booted host and ends with `pass` or `fail WHY`.

set -eu

: "${component:?is set by /init}"
name=$(basename "$0" .sh)
component_debugfs=/sys/kernel/debug/kvm_arm_rmi
# Who signs platform tokens: a file, or "any" if that is not known.
platform_key=${platform_key:-/tests/platform.pem}

# Whatever stops a scenario, it ends with one of these two lines.
verdict=
trap '[ "$verdict" ] || echo "not ok $name stopped by an error"' EXIT

pass() {
	verdict=1
	echo "ok $name"
	exit 0
}

fail() {
	verdict=1
	echo "not ok $name $*"
	exit 1
}

# load, unload: no-ops where the component is part of the kernel
load() {
	if [ "$component" = module ]; then insmod /lib/kvm_arm_rmi.ko; fi
}

unload() {
	if [ "$component" = module ]; then rmmod kvm_arm_rmi; fi
}

# stays_loaded: the component is not unloaded, for there is a realm; or the RMM keeps memory, and then nothing else
# loads it after that
stays_loaded() {
	if [ "$component" = module ]; then fails_with 'Resource temporarily unavailable' rmmod kvm_arm_rmi; fi
}

# value FILE KEY: what the component's debugfs FILE says after "KEY: "
value() {
	sed -n "s/^$2: //p" "$component_debugfs/$1"
}

# expect_value FILE KEY WANTED
expect_value() {
	got=$(value "$1" "$2")
	[ "$got" = "$3" ] || fail "$1: $2 is '$got', not '$3'"
}

# calls FILE [COMMAND...]: how often the RMM was called by these commands, or by any, as a file smcs in the
# component's debugfs has it
calls() {
	file=$1
	shift
	awk -v commands=" $* " '
		commands == "  " || index(commands, " " $1 " ") { n += $2 }
		END { print n + 0 }' "$component_debugfs/$file"
}

# realm SECONDS COMMAND...: what `rmi-client realm COMMAND...` does, in this time
realm() {
	seconds=$1
	shift
	timeout "$seconds" rmi-client realm "$@" ||
		fail "realm $*: status $? (143 is that it took $seconds s), see above"
}

# nothing_left: the RMM holds nothing of the host's any more
nothing_left() {
	expect_value granules delegated 0
	expect_value granules leaked 0
}

# fails_with WANTED COMMAND...: it fails, and says WANTED
fails_with() {
	wanted=$1
	shift
	if "$@" >/tmp/refused 2>&1; then fail "$*: it is not refused"; fi
	grep -q "$wanted" /tmp/refused || fail "$*: $(cat /tmp/refused)"
}

hibernate() {
	echo disk >/sys/power/state
}

# no_takeover: no other kernel can be loaded, or be restored after a hibernation, and the log says why
no_takeover() {
	dmesg -c >/dev/null
	fails_with 'Operation not permitted' rmi-client kexec load /guest/Image
	fails_with 'Operation not permitted' hibernate
	dmesg | grep -q "Can't kexec: memory may belong to realms" || fail 'nothing in the log about kexec'
	dmesg | grep -q "Can't hibernate: memory may belong to realms" ||
		fail 'nothing in the log about hibernation'
}

# wait_for PID LOG WHAT COMMAND...: waits until the command succeeds, as long as that process is there, which
# writes this log, and two minutes at most: what never comes is said, before the whole boot runs out of time
wait_for() {
	process=$1 log=$2 awaited=$3 tries=1200
	shift 3
	until "$@"; do
		tries=$((tries - 1))
		if ! kill -0 "$process" 2>/dev/null || [ $tries = 0 ]; then
			tail -n 20 "$log" | sed 's/^/  | /'
			fail "$awaited: not $([ $tries = 0 ] && echo 'within two minutes' || echo 'before it ended')"
		fi
		sleep 0.1
	done
}

# all_back COUNT: waits until the RMM has just so many granules, but not for ever
all_back() {
	for _ in $(seq 100); do
		if [ "$(value granules delegated)" = "$1" ]; then break; fi
		sleep 0.1
	done
}

# more_than COUNT: the RMM has more granules than that
more_than() {
	[ "$(value granules delegated)" -gt "$1" ]
}

# hold NAME [running]: a VM that is there until `let_go NAME`; sets pid, and vm to its directory.
hold() {
	vm_name=$1
	shift
	mkfifo "/tmp/$vm_name"
	: >"/tmp/$vm_name.out"
	rmi-client realm hold "$@" <"/tmp/$vm_name" >"/tmp/$vm_name.out" &
	pid=$!
	sleep 1000 >"/tmp/$vm_name" &
	echo "$pid $!" >"/tmp/$vm_name.pids"
	wait_for $pid "/tmp/$vm_name.out" "a VM $vm_name" grep -q held "/tmp/$vm_name.out"
	set -- "$component_debugfs/vm-$pid-"*
	if [ $# != 1 ] || [ ! -d "$1" ]; then fail "the directories of process $pid: $*"; fi
	# shellcheck disable=SC2034 # for the caller
	vm=${1##*/}
}

let_go() {
	read -r holder open <"/tmp/$1.pids"
	kill "$open"
	wait "$holder" || fail "VM $1 ended with status $?"
	rm "/tmp/$1" "/tmp/$1.out" "/tmp/$1.pids"
}

# victim DOING: starts a realm that does so until it is killed; sets victim
victim() {
	rmi-client realm victim "$1" >/tmp/victim &
	victim=$!
	wait_for $victim /tmp/victim "the beginning of $1" grep -q ready /tmp/victim
}

# killed DOING: it did so until now, and is killed
killed() {
	kill -0 "$victim" || fail "$1: it has ended"
	kill -9 "$victim"
	wait "$victim" || true
	all_back 0
}

# pack DIRECTORY...: /tmp/initrd, for a kernel that goes on with this scenario and needs these
pack() {
	(cd / && {
		printf '%s\n' dev proc sys tmp
		find init bin lib "$@"
	} | cpio -o -H newc) >/tmp/initrd 2>/dev/null
}

# swap_on, swap_off: the host swaps to memory of its own, compressed
swap_on() {
	echo 64M >/sys/block/zram0/disksize
	mkswap /dev/zram0 >/dev/null
	swapon /dev/zram0
}

swap_off() {
	swapoff /dev/zram0
	echo 1 >/sys/block/zram0/reset
}

# bench: what realms cost, phase by phase, and what Linux costs that boots in one
bench() {
	timeout 500 rmi-client realm bench \
		linux-realm --quiet --memory 256 --cpus 1 --cmdline 'quiet check=none'
}

# most_counters: event counters that the PMU of a realm can have, or nothing if it can have no PMU
most_counters() {
	sed -n 's/.*"pmu_counters":\([1-9][0-9]*\).*/\1/p' "$component_debugfs/capabilities"
}

# linux_guest realm|ordinary CPUS MIB [NAME [OPTION...]]: boots Linux in a VM; all that it checks of
# itself has to be right, and what it wrote to its disk has to be there. Its console is in /tmp/NAME.log.
# With a $challenge it shows a token, which says what the VMM says. If $transport is set, that is how its
# virtio devices are found, and by $mode its memory is private.
linux_guest() {
	guest="$1 $2 $3"
	log=/tmp/${4:-guest}.log
	disk=/tmp/${4:-guest}.disk
	linux='linux-realm'
	if [ "$1" = ordinary ]; then linux='linux-no-realm'; fi
	words="quiet swiotlb=8192,track_hiwater check=$1 cpus=$2 transport=${transport:=mmio}"
	words="$words${challenge:+ challenge=$challenge}"
	vcpus=$2 mib=$3
	shift 3
	if [ $# -gt 0 ]; then shift; fi
	set -- --cpus "$vcpus" --memory "$mib" --disk "$disk" --transport "$transport" --cmdline "$words" "$@"
	realm-check make-disk "$disk" 8
	status=0
	timeout 300 $linux "$@" --mode "${mode:-v14}" </dev/null >"$log" 2>&1 || status=$?
	if [ $status != 0 ] || ! grep -q '^realm-check: .* 0 failed' "$log"; then
		sed 's/^/  | /' "$log"
		fail "Linux in a VM ($guest): status $status (143 is that it took too long)"
	fi
	grep -E '^guest: |^realm-check: |^  ok       bus: ' "$log" | sed "s/^/  $guest: /"
	realm-check verify-disk "$disk" || fail "the disk does not have what the guest wrote"
	rm "$disk"
	if [ "${challenge:-}" ]; then attested "$log" "$@"; fi
}

# attested LOG OPTION...: the token in the log is that of the realm that these options make, and of no other
attested() {
	hex=$(tr -d '\r' <"$1" | sed -n 's/^token: //p')
	echo "$hex" | xxd -r -p >/tmp/token
	shift
	realm-vmm measure --kernel /guest/Image --initrd /guest/initrd.gz "$@" >/tmp/measured ||
		fail 'the realm cannot be measured'
	says() { sed -n "s/^$1 //p" /tmp/measured; }
	hash=$(says hash | tr -d -)
	set -- --challenge "$challenge" --hash "$hash" --rim "$(says rim)" --rpv "$(says rpv)"
	verify /tmp/token "$@" || fail 'the token is not what it should be, see above'
	head -n 3 /tmp/token.says | cmp - /tmp/measured || fail 'verify says something else than measure'

	other=sha256
	if [ "$hash" = $other ]; then other=sha512; fi
	not_attested 'personalisation value' /tmp/token "$@" --rpv 77
	not_attested 'measured by' /tmp/token "$@" --hash $other
	not_attested 'initial measurement' /tmp/token "$@" --rim "$(says rim | tr 0-9 1-90)"
	not_attested 'challenge' /tmp/token "$@" --challenge 77
	# At the end is the realm's signature.
	echo "$hex" | sed 's/[^0]$/0/; t; s/0$/1/' | xxd -r -p >/tmp/changed
	not_attested 'not signed by the key' /tmp/changed "$@"
	echo "$hex" | sed 's/..$//' | xxd -r -p >/tmp/changed
	not_attested 'not CBOR' /tmp/changed "$@"
	echo "  attested: $(tr '\n' ' ' </tmp/measured)"
}

# verify TOKEN OPTION...: what realm-vmm says of it; what the token says is in /tmp/token.says
verify() {
	if [ "$platform_key" = any ]; then
		realm-vmm verify --any-platform "$@" >/tmp/token.says
	else
		realm-vmm verify --platform-key "$platform_key" "$@" >/tmp/token.says
	fi
}

# not_attested WHY TOKEN OPTION...: it is not taken, for this reason alone
not_attested() {
	why=$1
	shift
	status=0
	verify "$@" 2>/tmp/why || status=$?
	if [ $status != 1 ] || [ "$(grep -c . /tmp/why)" != 1 ] || ! grep -q "$why" /tmp/why; then
		fail "a token that is not what it should be ($why): status $status, $(cat /tmp/why)"
	fi
}

# linux_ends reset|panic STATUS [OPTION...]: a guest in a realm ends so, and that is the VMM's exit status
linux_ends() {
	ends=$1
	wanted=$2
	shift 2
	status=0
	timeout 300 linux-realm --memory 256 --cmdline "quiet check=$ends" "$@" \
		</dev/null >/tmp/ends.log 2>&1 || status=$?
	if [ $status != "$wanted" ]; then
		sed 's/^/  | /' /tmp/ends.log
		fail "the VMM's status is $status after a $ends, not $wanted"
	fi
	echo "  $ends: $(tail -n 1 /tmp/ends.log)"
}

# linux_killed: a VMM is killed in the middle of its guest's boot
linux_killed() {
	linux-realm --cpus 2 --memory 256 --cmdline 'quiet check=realm cpus=2' \
		</dev/null >/tmp/killed.log 2>&1 &
	vmm=$!
	# More than what it starts with, less than what a guest that is up has.
	wait_for $vmm /tmp/killed.log 'the middle of its boot' more_than 5000
	kill -9 $vmm
	wait $vmm || true
	! grep -q '^guest: ' /tmp/killed.log || fail 'it was killed too late'
	all_back 0
	echo '  killed in the middle of its boot'
}

# qemu_has_realms: VMM= named a QEMU that can make them
qemu_has_realms() {
	[ -x /bin/vmm ] || fail 'VMM= has named no QEMU (README.md)'
	vmm -object help 2>&1 | grep -q 'rme-guest' ||
		fail 'the QEMU that VMM= names has no object rme-guest: it cannot make realms'
}

# linux_paused: a guest that is paused says nothing until it goes on, and goes on then
linux_paused() {
	log=/tmp/paused.log
	linux-realm --cpus 2 --memory 256 --cmdline 'quiet check=ticks' </dev/null >$log 2>&1 &
	vmm=$!
	until_said '^tick' 3
	kill -USR1 $vmm
	until_said '^realm-vmm: the guest is paused' 1
	ticks=$(grep -c '^tick' "$log")
	sleep 3
	now=$(grep -c '^tick' "$log")
	[ "$now" = "$ticks" ] || fail "a guest that is paused went from tick $ticks to $now"
	kill -USR2 $vmm
	until_said '^tick' $((ticks + 3))
	# It can also end while it is paused.
	kill -USR1 $vmm
	kill -TERM $vmm
	status=0
	wait $vmm || status=$?
	[ $status = 143 ] || fail "the VMM's status is $status after SIGTERM, not 143"
	echo "  paused after tick $ticks, and gone on"
}

# until_said REGEX TIMES: waits until as many lines of $log match, which the process $vmm writes
until_said() {
	wait_for "$vmm" "$log" "'$1', $2 times" log_has "$1" "$2"
}

# log_has REGEX TIMES: as many lines of $log match, if it is there already
log_has() {
	[ -e "$log" ] && [ "$(grep -c "$1" "$log")" -ge "$2" ]
}

# selftests ci|hand SECONDS: KVM's own tests that run then, in this time each; all of them end as
# tests/selftests/expected says
selftests() {
	expected=/tests/selftests.expected
	log=/tmp/selftest.log
	others=''
	sed -n "s/^$1 //p" $expected >/tmp/selftests
	[ -s /tmp/selftests ] || fail "$expected has no test to run"
	for program in $(cd /selftests && find . -type f | cut -c 3-); do
		grep -q "^[a-z]* [^ ]* $program\( \|\$\)" $expected || others="$others $program(not in the list)"
	done
	cd /selftests
	while read -r wanted command; do
		says=''
		case $command in *' -- '*) says=${command#* -- } command=${command%% -- *} ;; esac
		if [ "$wanted" = realm ]; then
			wanted=pass
			if [ "$component" = none ]; then wanted=skip says=KVM_CAP_ARM_RMI; fi
		fi
		status=0
		started=$(date +%s)
		# shellcheck disable=SC2086 # words
		timeout -k 5 "$2" ./$command >$log 2>&1 </dev/null || status=$?
		case $status in
		0) got=$(grep -c '# SKIP' $log) && got=pass+$got || got=pass ;;
		4) got=skip ;;
		*) got=fail ;;
		esac
		echo "  $got: $command ($(($(date +%s) - started)) s)"
		if [ "$got" != "$wanted" ] || ! grep -qF -e "$says" $log; then
			others="$others $command,"
			tail -n 12 $log | sed 's/^/  | /'
			echo "  expected: $wanted${says:+, and it says: $says} (its status: $status)"
		fi
	done </tmp/selftests
	cd /
	[ ! "$others" ] || fail "other than tests/selftests/expected has it:$others"
	echo "  $(wc -l </tmp/selftests) of KVM's tests ended as expected"
}
