# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The component stays as long as there is a realm.

. "${0%/*}/lib.sh"

[ "$component" = module ] || fail "there is nothing to unload"
load
mkfifo /tmp/hold
rmi-client realm hold </tmp/hold >/tmp/held &
holder=$!
exec 9>/tmp/hold
until grep -q held /tmp/held; do
	kill -0 $holder || fail "there is no realm"
	sleep 0.1
done
if unload 2>/tmp/error; then fail "it unloads while there is a realm"; fi
grep -q "Resource temporarily unavailable" /tmp/error || fail "unloading: $(cat /tmp/error)"
[ -d "$component_debugfs" ] || fail "it has gone half way"
exec 9>&-
wait $holder || fail "the realm's VMM ended with status $?"
nothing_left
unload || fail "it does not unload when the realm has gone"
pass
