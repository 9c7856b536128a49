# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# KVM's own tests of ordinary VMs, and those of realms: the same outcome with and without the
# component (tests/selftests).
# selftests: needed
# time-limit: 240

. "${0%/*}/lib.sh"

load
selftests ci 60
if [ "$component" != none ]; then nothing_left; fi
unload
pass
