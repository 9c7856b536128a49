# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What a VMM and a realm may do wrong: each the error that it has to be, and nothing lost.
# time-limit: 1000

. "${0%/*}/lib.sh"

load
realm 950 abuse
nothing_left
unload
pass
