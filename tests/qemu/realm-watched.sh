# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# All that watches a kernel at work, on one that runs realms: they live as ever, and what is to be seen is
# seen.
# parameters: irqchip.gicv3_pseudo_nmi=1 nohz_full=1 isolcpus=1
# time-limit: 900

. "${0%/*}/lib.sh"

tracing=/sys/kernel/tracing

# counted EVENT COMMAND...: sets count
counted() {
	rmi-client counted "$@" >/tmp/counted || fail "counted $*: $(tail -n 1 /tmp/counted)"
	count=$(sed -n 's/^counted .*: //p' /tmp/counted)
	echo "  $1: $count"
}

# address REGEX: of the first function whose whole name matches
address() {
	awk -v name="^$1\$" '$3 ~ name { print $1; exit }' /proc/kallsyms
}

# lives WITH: a realm goes through all that it can exit for, one of its CPUs on each of the host's
lives() {
	realm 300 run --vcpus 2 --memory 10 --pinned >/dev/null
	echo "  lives with $* ($(cut -d . -f 1 /proc/uptime) s)"
}

# ticks CPU: interrupts that the host's timer has made there so far
ticks() {
	awk -v column=$(($1 + 2)) '$NF == "arch_timer" { print $column }' /proc/interrupts
}

# ticks_beside CPU: how many of them there are in 5 s while a realm runs there and does not rest
ticks_beside() {
	taskset -p $((1 << $1)) "$victim" >/dev/null
	sleep 1
	before=$(ticks "$1")
	sleep 5
	count=$(($(ticks "$1") - before))
	[ "$(awk '{ print $39 }' "/proc/$victim/stat")" = "$1" ] || fail "the realm is not on CPU $1"
	echo "  CPU $1: $count ticks in 5 s beside a realm"
}

load
dmesg | grep -q 'Pseudo-NMIs enabled' || fail 'no pseudo-NMIs'
for list in isolated nohz_full; do
	got=$(cat /sys/devices/system/cpu/$list)
	[ "$got" = 1 ] || fail "CPUs $list: '$got'"
done

# The scheduler puts nothing on the isolated CPU by itself: the threads of the realm's CPUs are told where to
# be. Each entry of a REC says where it was.
echo 1 >$tracing/events/kvm_arm_rmi/rec_enter/enable
lives 'pseudo-NMIs, and a CPU that is isolated and without ticks'
echo 0 >$tracing/events/kvm_arm_rmi/rec_enter/enable
for cpu in 0 1; do
	entries=$(grep -c " \[00$cpu\] .* rec_enter: .* vcpu=$cpu\$" $tracing/trace || true)
	[ "$entries" -gt 50 ] || fail "$entries entries of vCPU $cpu on CPU $cpu"
	! grep " rec_enter: .* vcpu=$cpu\$" $tracing/trace | grep -v " \[00$cpu\] " ||
		fail "vCPU $cpu was elsewhere than on CPU $cpu"
	echo "  $entries entries on CPU $cpu"
done
echo >$tracing/trace

# There are 100 ticks a second where there are any.
victim spin
ticks_beside 0
[ "$count" -gt 400 ] || fail 'too few for a CPU with ticks'
ticks_beside 1
[ "$count" -lt 50 ] || fail 'too many for a CPU without'
killed spin

# What preempts the kernel, and when.
modes=/sys/kernel/debug/sched/preempt
before=$(sed 's/.*(\(.*\)).*/\1/' $modes)
[ "$(tr -d '()' <$modes)" = 'full lazy ' ] || fail "preemption modes: $(cat $modes)"
for mode in full lazy; do
	echo "$mode" >$modes
	lives "preemption: $mode"
done
echo "$before" >$modes

# probe GROUP: a probe on each function that standard input names; those that the kernel refuses go to
# /tmp/refused
probe() {
	number=0
	while read -r symbol; do
		number=$((number + 1))
		echo "p:$1/f$number $symbol" >>$tracing/kprobe_events 2>/dev/null || echo "$symbol" >>/tmp/refused
	done
}

# Probes on KVM's functions, and on the component's: on those in C, for the kernel takes none where the function
# tracer has no place to be, and rustc makes none. The one that calls the RMM to enter a realm may have neither.
: >/tmp/refused
awk '$2 ~ /[tT]/ && $3 ~ /^(kvm_rmi_|arm_smccc_1|kvm_arch_vcpu|kvm_vgic_)/ && !$4 { print $3 }' /proc/kallsyms |
	sort -u | probe kvms
awk '$2 ~ /[tT]/ && $3 ~ /^kvm_rmi_helper_/ && $4 == "[kvm_arm_rmi]" { print $3 }' /proc/kallsyms |
	sort -u | probe own
refused=$(sort /tmp/refused | tr '\n' ' ')
[ "$refused" = 'arm_smccc_1_2_hvc arm_smccc_1_2_smc ' ] || fail "refused: $refused"
: >/tmp/refused
awk '$3 ~ /^_R.*RealmVmE11handle_exit/ { print $3 }' /proc/kallsyms | sort -u >/tmp/rust
probe rust </tmp/rust
if [ ! -s /tmp/rust ] || ! cmp -s /tmp/rust /tmp/refused; then fail "of $(cat /tmp/rust) refused: $(cat /tmp/refused)"; fi
while read -r group least least_hit hit; do
	probes=$(grep -c "^p:$group/" $tracing/kprobe_events)
	[ "$probes" -ge "$least" ] || fail "only $probes probes on $group"
	echo 1 >$tracing/events/"$group"/enable
	lives "$probes probes on $group"
	echo 0 >$tracing/events/"$group"/enable
	sed -n 's/.*: f[0-9]*: (\([^+]*\)+.*/\1/p' $tracing/trace | sort -u >/tmp/hit
	hits=$(grep -c . /tmp/hit || true)
	echo "  $hits of them hit"
	[ "$hits" -ge "$least_hit" ] || fail "that is less than $least_hit"
	grep -qx "$hit" /tmp/hit || fail "the probe on $hit was not hit"
	echo >$tracing/trace
done <<-END
	kvms 60 40 kvm_rmi_handle_exit
	own 40 25 kvm_rmi_helper_mmu_invalidate_seq
END
echo >$tracing/kprobe_events

for tracer in function function_graph; do
	echo $tracer >$tracing/current_tracer
	lives "tracer: $tracer"
	calls=$(awk '/^(entries|overrun): / { n += $2 } END { print n + 0 }' $tracing/per_cpu/cpu*/stats)
	echo "  $calls calls seen"
	[ "$calls" -gt 100000 ] || fail 'that is no trace of a realm'
	echo nop >$tracing/current_tracer
done

# A breakpoint stays where it is, whatever the realms do: in KVM, and in what the component has in Rust.
for symbol in kvm_rmi_enter_exit '_R.*RealmVmE11handle_exit.*'; do
	counted "breakpoint:$(address "$symbol")" rmi-client realm many 1
	[ "$count" -gt 100 ] || fail "$count hits of a breakpoint at each entry: $symbol"
done

# What a guest does is counted as the guest's. Of a realm nothing is but the way there and back, through EL3:
# here it does as much as the ordinary VM. (QEMU counts instructions with -icount only.)
counted cycles:G rmi-client realm spin --ordinary
ordinary=$count
[ "$ordinary" -gt 100000000 ] || fail "an ordinary VM with $ordinary cycles"
counted cycles:G rmi-client realm spin
[ "$count" -lt $((ordinary / 20)) ] || fail "a realm with $count cycles"
counted cycles:H rmi-client realm many 1
[ "$count" -gt 1000 ] || fail "a host with $count cycles"

nothing_left
unload
pass
