# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Many realms, one after another, and many VMs that are closed before they become one.
# time-limit: 1500

. "${0%/*}/lib.sh"

load
realm 800 many 100
nothing_left
realm 600 churn 300
nothing_left
unload
pass
