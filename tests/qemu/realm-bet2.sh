# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Realms as in realm-run, on an RMM that speaks the dialect of the bet2 draft.
# time-limit: 300
# rmm: bet2

. "${0%/*}/lib.sh"

load
for vcpus in 1 4; do
	realm 200 run --vcpus "$vcpus" --memory 64
	nothing_left
done
realm 100 off 20
nothing_left
# That it is this RMM: it refuses the form of PSCI_COMPLETE that others take, which is tried first.
read -r calls refused <<EOT
$(sed -n 's/^PSCI_COMPLETE //p' "$component_debugfs/smcs")
EOT
if [ "$refused" = 0 ] || [ "$calls" != $((2 * refused)) ]; then
	fail "PSCI_COMPLETE: $refused of $calls calls were refused, not every other one"
fi
unload
pass
