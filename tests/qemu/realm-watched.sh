# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# All that watches a kernel at work, on one that runs realms: they live as ever, and what is to be seen is
# seen.
# parameters: irqchip.gicv3_pseudo_nmi=1 nohz_full=1
# time-limit: 900

. "${0%/*}/lib.sh"

tracing=/sys/kernel/tracing

# counted EVENT COMMAND...: sets count
counted() {
	rmi-client counted "$@" >/tmp/counted || fail "counted $*: $(tail -n 1 /tmp/counted)"
	count=$(sed -n 's/^counted .*: //p' /tmp/counted)
	echo "  $1: $count"
}

address() {
	awk -v name="$1" '$3 == name { print $1; exit }' /proc/kallsyms
}

lives() {
	realm 300 many 1 >/dev/null
	echo "  lives with $*"
}

load
dmesg | grep -q 'Pseudo-NMIs enabled' || fail 'no pseudo-NMIs'
[ "$(cat /sys/devices/system/cpu/nohz_full)" = 1 ] || fail 'no CPU without ticks'
lives 'pseudo-NMIs, and a CPU without ticks'

# What preempts the kernel, and when.
modes=/sys/kernel/debug/sched/preempt
before=$(sed 's/.*(\(.*\)).*/\1/' $modes)
for mode in $(tr -d '()' <$modes); do
	echo "$mode" >$modes
	lives "preemption: $mode"
done
echo "$before" >$modes

# Probes where there may be some.
refused=0
awk '$2 ~ /[tT]/ && $3 ~ /^(kvm_rmi_|arm_smccc_1|kvm_arch_vcpu|kvm_vgic_)/ { print $3 }' /proc/kallsyms |
	sort -u >/tmp/symbols
while read -r symbol; do
	echo "p $symbol" >>$tracing/kprobe_events 2>/dev/null || refused=$((refused + 1))
done </tmp/symbols
probes=$(grep -c . $tracing/kprobe_events)
[ "$probes" -gt 20 ] || fail "only $probes probes"
echo 1 >$tracing/events/kprobes/enable
lives "$probes probes, $refused refused"
echo 0 >$tracing/events/kprobes/enable
grep -q kvm_rmi_handle_exit $tracing/trace || fail 'no probe was hit'
echo >$tracing/kprobe_events
echo >$tracing/trace

for tracer in function function_graph; do
	echo $tracer >$tracing/current_tracer
	lives "tracer: $tracer"
	echo nop >$tracing/current_tracer
done

# A breakpoint stays where it is, whatever the realms do.
counted "breakpoint:$(address kvm_rmi_enter_exit)" rmi-client realm many 1
[ "$count" -gt 100 ] || fail "$count hits of a breakpoint at each entry"

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
