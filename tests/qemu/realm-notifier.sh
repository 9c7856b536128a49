# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A realm does not store to memory that was taken from it, whoever else takes memory from it at the time.
# time-limit: 300
# cpus: 4

. "${0%/*}/lib.sh"

load
realm 250 notifier
nothing_left
unload
pass
