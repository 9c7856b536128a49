# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# An RMM that goes wrong at any of its commands: no harm, or an error that a VMM knows; whatever the
# RMM keeps is known to be leaked and used by nobody, also when a VMM is killed, and the next realm is as good
# as the first. The component stays where memory has leaked, and no other kernel takes over.
# time-limit: 460
# rmm: fault-injection
# guest: own

. "${0%/*}/lib.sh"

load
realm 60 half-way
realm 30 kept 4
realm 350 faults
leaked=$(value granules leaked)
[ "$leaked" -gt 0 ] || fail 'nothing is leaked'
expect_value granules delegated "$leaked"
no_takeover
stays_loaded
expect_value granules leaked "$leaked"
pass
