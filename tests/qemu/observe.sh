# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What the component says of a VM, in debugfs and by events, is true, and is there as long as the VM
# is and not longer.
# time-limit: 600

. "${0%/*}/lib.sh"

tracing=/sys/kernel/tracing
events=$tracing/events/kvm_arm_rmi

no_vms() {
	set -- "$component_debugfs"/vm-*
	if [ -d "$1" ]; then fail "VMs that are not there any more: $*"; fi
}

# at_least FILE KEY LEAST
at_least() {
	[ "$(value "$1" "$2")" -ge "$3" ] || fail "$1: $2 is $(value "$1" "$2"), less than $3"
}

# sum EVENT KIND: pages of such memory in such events
sum() {
	sed -n "s/.* $1: .* $2 .*pages=//p" /tmp/trace | awk '{ n += $1 } END { print n + 0 }'
}

# seen EVENT: how often
seen() {
	grep -c " $1: " /tmp/trace || true
}

trace() {
	echo "$1" >$events/enable
	echo "$1" >$tracing/events/kvm/kvm_exit/enable
}

# misnamed: exits of RECs that KVM's own event, by which perf has statistics, does not name as ours does
misnamed() {
	awk '
		/ kvm_exit: / { named = $0; next }
		/ rec_exit: / {
			class = "0x0017"
			if (/reason=SYNC esr=0x9[0-3]......$/) class = "0x0024"
			if (/reason=SYNC esr=0x[0-7]/) class = ""
			if (/reason=SERROR/) class = "0x002f"
			if (!/result=0x0 /) class = "0x0000"
			kind = "TRAP: "
			if (/reason=(IRQ|FIQ)/) { kind = "IRQ: "; class = "" }
			if (index(named, " kvm_exit: " kind) && index(named, "HSR_EC: " class)) named = ""
			else print named " | " $0
		}' /tmp/trace
}

load
no_vms
json='{"ipa_bits":[0-9]*,"granule_size":4096,"hash_algorithms":\["sha-256"[^]]*],"sve_vector_bits":[0-9]*,"breakpoints":[0-9]*,"watchpoints":[0-9]*,"pmu":true,"pmu_counters":[1-9][0-9]*}'
grep -qx "$json" "$component_debugfs/capabilities" ||
	fail "capabilities: $(cat "$component_debugfs/capabilities")"

# The host's memory is in pieces, of which not all begin at a GiB: firmware has its own in between. The RMM is
# asked about each of them.
sed -n 's/^\([0-9a-f]*\)-.* : System RAM$/\1/p' /proc/iomem >/tmp/pieces
pieces=0 odd=0
while read -r base; do
	pieces=$((pieces + 1))
	[ $((0x$base % 0x40000000)) = 0 ] || odd=$((odd + 1))
done </tmp/pieces
if [ $pieces = 1 ] || [ $odd = 0 ]; then fail "$pieces pieces of memory, $odd begin off a GiB"; fi
echo "$pieces pieces of memory, of which $odd begin off a GiB"
[ "$(calls smcs GRANULE_TRACKING_GET)" -ge "$pieces" ] || fail 'the RMM is not asked about each of them'

# A VM that is no realm yet.
hold idle
expect_value "$vm/state" state None
expect_value "$vm/state" rd 0x0
expect_value "$vm/state" recs 0
expect_value "$vm/state" tables_at_level_3 0
expect_value "$vm/granules" mapped_private 0
expect_value "$vm/granules" mapped_shared 0
expect_value "$vm/granules" delegated 0
[ ! -s "$component_debugfs/$vm/smcs" ] || fail "something was asked for a VM that is no realm"
idle=$vm

# A realm, beside it. From here on there are events, where the kernel has them.
traced=
if grep -qw tracefs /proc/filesystems; then
	[ -d $events ] || fail "the kernel has events, but not ours"
	traced=1
	trace 1
else
	echo "this kernel has no events"
fi
before=$(calls smcs REC_ENTER)
hold realm running
expect_value "$vm/state" state Active
expect_value "$vm/state" vcpus 1
expect_value "$vm/state" recs 1
at_least "$vm/state" tables_at_level_3 1
at_least "$vm/granules" mapped_private 256
mapped=$(value "$vm/granules" mapped_private)
# The RD and the REC, and every table, are granules as well.
tables=$(sed -n 's/^\(start_tables\|tables_at_level_.\): //p' "$component_debugfs/$vm/state" |
	awk '{ n += $1 } END { print n }')
at_least "$vm/granules" delegated $((mapped + tables + 2))
expect_value "$vm/granules" leaked 0
expect_value granules delegated "$(value "$vm/granules" delegated)"
[ "$(calls "$vm/smcs" REALM_ACTIVATE)" = 1 ] || fail "the realm was not activated once"
entries=$(calls "$vm/smcs" REC_ENTER)
[ "$entries" -gt 0 ] || fail "no REC has run"
[ "$entries" = $(($(calls smcs REC_ENTER) - before)) ] || fail "a REC of nobody's has run"
expect_value "$idle/state" state None

if [ $traced ]; then
	trace 0
	cat $tracing/trace >/tmp/trace
	[ "$(seen rec_enter)" = "$entries" ] || fail "$(seen rec_enter) of $entries entries are seen"
	[ "$(seen rec_exit)" = "$entries" ] || fail "$(seen rec_exit) of $entries exits are seen"
	[ "$(seen kvm_exit)" = "$entries" ] || fail "KVM has $(seen kvm_exit) of $entries exits"
	[ -z "$(misnamed)" ] || fail "KVM names exits otherwise: $(misnamed)"
	pages=$(($(sum realm_map private) - $(sum realm_unmap private)))
	[ $pages = "$mapped" ] || fail "$pages pages are seen, and $mapped mapped"
	grep -q 'rmi_call: .* name=REALM_CREATE realm=0x0 result=0x0' /tmp/trace || fail "no creation"
	rd=$(value "$vm/state" rd)
	for event in 'rmi_call: .* name=REALM_ACTIVATE realm=R result=0x0$' \
		'rec_enter: realm=R vcpu=0$' \
		'rec_exit: realm=R vcpu=0 result=0x0 reason=SYNC esr=' \
		'realm_map: realm=R private start='; do
		event=$(echo "$event" | sed "s/=R /=$rd /")
		grep -q "$event" /tmp/trace || fail "no event is '$event'"
	done
	trace 1
fi

# A file that is open when the VM goes says no more, and the component waits for it to be closed.
exec 8<"$component_debugfs/$vm/state"
let_go realm
let_go idle
no_vms
if cat <&8 >/tmp/late 2>/tmp/error; then fail "what is no more says: $(cat /tmp/late)"; fi
grep -q "Input/output error" /tmp/error || fail "reading late: $(cat /tmp/error)"
if [ "$component" = module ]; then
	if unload 2>/dev/null; then fail "it unloads while a file of its is open"; fi
fi
exec 8<&-

if [ $traced ]; then
	trace 0
	cat $tracing/trace >/tmp/trace
	for event in 'realm_map: .* shared start=' 'realm_unmap: .* shared start=' \
		'rec_exit: .* reason=RIPAS_CHANGE esr=' 'rec_exit: .* reason=PSCI esr='; do
		grep -q "$event" /tmp/trace || fail "no event is '$event'"
	done
	[ -z "$(misnamed)" ] || fail "KVM names exits otherwise: $(misnamed)"
	[ "$(sum realm_map private)" = "$(sum realm_unmap private)" ] ||
		fail "private memory that was mapped is not seen to be unmapped"
	echo >$tracing/trace
	realm 60 many 1
	cat $tracing/trace >/tmp/trace
	if grep -q '^[^#]' /tmp/trace; then fail "there are events that nobody asked for"; fi
	# Whoever listens does not keep the component.
	trace 1
fi

# Files that are read all the time, of VMs that come and go.
(while :; do cat "$component_debugfs"/vm-*/* >/dev/null 2>&1 || true; done) &
reader=$!
realm 300 many 3
for _ in $(seq 50); do
	realm 20 hold </dev/null >/tmp/out
done
kill $reader
wait $reader 2>/dev/null || true
no_vms

# Files that are opened, read and written in every way.
realm 300 debugfs
no_vms
nothing_left
unload
pass
