# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Private memory of realms in blocks of 2 MiB: one fault brings one in, it gives up parts of any size, and a
# realm goes through everything with its memory in blocks.

. "${0%/*}/lib.sh"

load
realm 200 blocks
nothing_left
unload
pass
