# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What `make shell` runs: a prompt on the host, the component loaded.

. "${0%/*}/lib.sh"

load
dmesg | grep 'kvm_arm_rmi: '
echo "The component's files are in $component_debugfs. 'exit' powers off."
setsid cttyhack sh || true
pass
