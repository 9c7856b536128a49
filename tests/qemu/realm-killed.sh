# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# VMMs are killed in the middle of whatever their realms do, and everything comes back.
# time-limit: 400

. "${0%/*}/lib.sh"

load
realm 350 killed
nothing_left
unload
pass
