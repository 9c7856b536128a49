# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# The component stays as long as there is a realm.

. "${0%/*}/lib.sh"

[ "$component" = module ] || fail "there is nothing to unload"
load
hold realm
stays_loaded
[ -d "$component_debugfs" ] || fail "it has gone half way"
let_go realm
nothing_left
unload || fail "it does not unload when the realm has gone"
pass
