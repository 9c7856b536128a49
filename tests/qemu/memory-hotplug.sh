# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A host gets memory that it did not begin with. What the RMM does not take stays offline; the rest is
# realms' as any other. While they have some of a block, it does not go offline, and says so at once.
# parameters: mem=1536M
# rmm: fault-injection
# time-limit: 600

. "${0%/*}/lib.sh"

blocks=/sys/devices/system/memory
# The RAM of QEMU's machine above what this kernel was told of, in blocks of 128 MiB.
size=0x8000000
added='20 21 22 23'

# to_online HOW BLOCK
to_online() {
	echo "$1" >"$blocks/memory$2/state" || fail "block $2 does not go online"
}

# offline BLOCK: what comes of it, in words; it takes no longer than a moment
offline() {
	start=$(date +%s)
	status=0
	echo offline | timeout 60 dd of="$blocks/memory$1/state" >/tmp/why 2>&1 || status=$?
	took=$(($(date +%s) - start))
	[ "$took" -lt 20 ] || fail "block $1: it took $took s to go offline, or not to"
	if [ "$status" = 0 ]; then
		echo offline
	elif grep -q 'busy' /tmp/why; then
		echo busy
	else
		sed 's/.*: //' /tmp/why
	fi
}

[ "$(cat $blocks/block_size_bytes)" = 8000000 ] || fail 'blocks of another size'
echo offline >$blocks/auto_online_blocks
load
for block in $added; do
	printf '%x,%x\n' $((block * size)) $((size)) >"$component_debugfs/selftest/memory" ||
		fail "block $block cannot be added"
	[ "$(cat "$blocks/memory$block/state")" = offline ] || fail "block $block is online by itself"
done

# GRANULE_TRACKING_GET answers, once, that the block is device memory.
# shellcheck disable=SC2086 # words
set -- $added
if echo "c40001e1,2,0,1,1,2,$(printf %x $((($1 + 1) * size))),0" \
	>"$component_debugfs/selftest/fault" 2>/dev/null; then
	if echo online >"$blocks/memory$1/state"; then fail 'what the RMM does not take goes online'; fi
	[ "$(cat "$blocks/memory$1/state")" = offline ] || fail "block $1 is not offline"
	dmesg | grep 'new memory stays offline: .* cannot be delegated' || fail 'nothing in the log'
else
	echo '  this RMM takes all that there is'
fi

# What the host has begun with is full, and so realms have what comes. They never have memory in the last
# block.
free=$(awk '/^MemFree:/ { print int($2 / 1024) }' /proc/meminfo)
mkdir /tmp/full
mount -t tmpfs -o size=100% full /tmp/full
head -c $(((free - 200) << 20)) /dev/zero >/tmp/full/file
to_online online_kernel "$1"
to_online online_kernel "$2"
to_online online_kernel "$3"
to_online online_movable "$4"
victim touch
wait_for "$victim" /tmp/victim 'a realm that holds memory' more_than 60000
busy=0
gone=
for memory in "$blocks"/memory[0-9]*; do
	block=${memory##*memory}
	what=$(offline "$block")
	echo "  block $block: $what"
	case " $added " in
	*" $block "*) ;;
	*) # What arm64 has booted with stays.
		[ "$what" != offline ] || fail "block $block is offline"
		continue
		;;
	esac
	case $what in
	busy) busy=$((busy + 1)) ;;
	offline) gone="$gone $block" ;;
	*) fail "block $block: $what" ;;
	esac
done
# Of the realm's 256 MiB there was no room elsewhere for what a block has.
[ "$busy" -ge 1 ] || fail "only $busy blocks are busy"
case "$gone " in *" $4 "*) ;; *) fail 'the last block is not offline' ;; esac
kill -0 "$victim" || fail 'the realm has ended'

for block in $gone; do
	if [ "$block" = "$4" ]; then to_online online_movable "$block"; else to_online online_kernel "$block"; fi
done
realm 60 many 2
killed touch
umount /tmp/full
nothing_left
# It is the host's again, and a realm's once more.
[ "$(offline "$4")" = offline ] || fail 'the last block does not go offline again'
realm 60 many 2
nothing_left
unload
pass
