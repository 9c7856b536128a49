# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Realms go through everything that they can exit for, with one CPU and with several; and so do
# ordinary VMs with the same guest. Realms of all IPA widths use both halves to their ends. Realms are measured by
# each hash algorithm, and their tokens say so. Without the component there are no realms.
# time-limit: 600

. "${0%/*}/lib.sh"

if [ "$component" = module ]; then realm 60 refused; fi
load
# Eight would take the debug kernel minutes.
most=8
case $(uname -r) in *-debug*) most=4 ;; esac
for vcpus in 1 2 $most; do
	realm 200 run --vcpus "$vcpus" --memory 64
	nothing_left
done
realm 100 run --ordinary --vcpus 2
realm 300 off 100
nothing_left
realm 200 widths
nothing_left
realm 200 tokens "$platform_key"
nothing_left
unload
if [ "$component" = module ]; then realm 60 refused; fi
pass
