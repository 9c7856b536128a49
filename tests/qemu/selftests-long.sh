# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Those of KVM's own tests that take minutes on an emulator.
# selftests: needed
# time-limit: 1800

. "${0%/*}/lib.sh"

load
selftests hand 600
if [ "$component" != none ]; then nothing_left; fi
unload
pass
