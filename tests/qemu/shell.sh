# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# What `make shell` runs: a prompt on the host, the component loaded.

. "${0%/*}/lib.sh"

load
dmesg | grep 'kvm_arm_rmi: '
realm-check make-disk /tmp/disk 8
export LINUX_DISK=/tmp/disk
cat <<END

  linux-realm                      boots Linux in a realm, to a prompt; exit there powers it off
  linux-realm --cpus 4 --memory 512 --cmdline 'check=realm cpus=4'
                                   has it check itself
  linux-no-realm                   the same in an ordinary VM
  realm-vmm --help                 what else there is
$([ ! -x /bin/vmm ] || echo "  qemu-realm 2 256 ''              the QEMU that VMM= named, with Linux in a realm; qemu-no-realm")
  cat $component_debugfs/smcs   (and what is beside it) what the component did

'exit' powers the host off.
END
setsid cttyhack sh || true
pass
