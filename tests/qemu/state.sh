# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What KVM tells user space, for scripts/compare-unpatched to look at.

. "${0%/*}/lib.sh"

rmi-client state >/tmp/state || fail "status $?, see above"
sed 's/^/state: /' /tmp/state
pass
