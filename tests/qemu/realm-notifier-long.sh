# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# realm-notifier with more CPUs and for longer.
# time-limit: 3600
# cpus: 8

. "${0%/*}/lib.sh"

load
realm 3500 notifier 200
nothing_left
unload
pass
