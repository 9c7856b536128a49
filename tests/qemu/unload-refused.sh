# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The component stays as long as there is a realm.

. "${0%/*}/lib.sh"

[ "$component" = module ] || fail "there is nothing to unload"
load
hold realm
if unload 2>/tmp/error; then fail "it unloads while there is a realm"; fi
grep -q "Resource temporarily unavailable" /tmp/error || fail "unloading: $(cat /tmp/error)"
[ -d "$component_debugfs" ] || fail "it has gone half way"
let_go realm
nothing_left
unload || fail "it does not unload when the realm has gone"
pass
