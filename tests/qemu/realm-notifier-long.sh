# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# realm-notifier with more CPUs and for longer; and registers of a task that runs both kinds of VMs.
# time-limit: 3600
# cpus: 8

. "${0%/*}/lib.sh"

load
realm 3000 notifier 200
realm 500 vectors
nothing_left
unload
pass
