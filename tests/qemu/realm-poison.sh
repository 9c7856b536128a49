# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Memory of a realm goes bad: that page is lost, and of what the realm is made of what that page holds.
# time-limit: 200

. "${0%/*}/lib.sh"

load
dmesg -c >/dev/null
realm 150 poison
# Of each realm that ends for its RD, its REC or its table the log says why.
dead=$(dmesg | grep -c 'is dead: the RMM has memory at 0x[0-9a-f]* for it, which is bad' || true)
[ "$dead" = 3 ] || fail "the log has $dead dead realms"
leaked=$(value granules leaked)
[ "$leaked" -gt 0 ] || fail 'the RMM was asked to look at bad memory'
expect_value granules delegated "$leaked"
stays_loaded
pass
