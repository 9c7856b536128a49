# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# A realm with 64 GiB of private memory, of which it uses little, and 20 CPUs, on a host with 2 GiB: it costs what
# a small one costs, but for its tables.
# time-limit: 120

. "${0%/*}/lib.sh"

load
realm 100 large
nothing_left
unload
pass
