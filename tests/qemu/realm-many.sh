# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Many realms, one after another, and many VMs that are closed before they become one.
# time-limit: 600

. "${0%/*}/lib.sh"

load
realm 400 many 30
nothing_left
realm 200 churn 1000
nothing_left
unload
pass
