# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# An RMM that goes wrong at any of its commands: no harm, or an error that a VMM knows; whatever the
# RMM keeps is known to be leaked and used by nobody, also when a VMM is killed, and the next realm is as good
# as the first.
# time-limit: 460
# rmm: fault-injection

. "${0%/*}/lib.sh"

load
realm 60 half-way
realm 30 kept 4
realm 350 faults
expect_value granules delegated "$(value granules leaked)"
unload
pass
