// SPDX-License-Identifier: GPL-2.0

//! What realms of this host have that is measured, and that a VMM leaves to the host.

use std::io;
use std::os::fd::AsRawFd;

use kvm_arm_rmi::uapi::{KVM_ARM_VM_RMI_CTRL, KVM_ARM_VM_RMI_HASH_ALGO};
use kvm_bindings::kvm_device_attr;
use kvm_ioctls::VcpuFd;
use realm_attest::hash::Hash;

use super::vm::Vm;
use super::{attributes, component, cpu, host};
use crate::args::Args;
use crate::error::{Error, Result, Trying};
use crate::layout::RAM_UNIT;
use crate::measure::Host;

/// _IOW(KVMIO, 0xe2, struct kvm_device_attr)
const KVM_GET_DEVICE_ATTR: libc::c_ulong = 0x4018_aee2;
/// KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM64_SYSREG.
const SYSREG: u64 = 0x6030_0000_0013_0000;
/// ID_AA64DFR0_EL1, op0 3, op1 0, CRn 0, CRm 5, op2 0.
const DFR0: u64 = SYSREG | 3 << 14 | 5 << 3;
/// Fields of it: one less than how many there are.
const BRPS: u32 = 12;
const WRPS: u32 = 20;
/// KVM_REG_ARM64_SVE_VLS: bit N is set for vectors of N + 1 quadwords.
const SVE_VLS: u64 = 0x6060_0000_0015_ffff;

/// Makes a realm VM as a run with `args` does, with a CPU, and looks at it. The RMM does not hear of it.
///
/// # Errors
///
/// The host has no realms.
pub fn ask(args: &Args) -> Result<Host> {
    let kvm = host::open(true)?;
    let asked = Args {
        no_realm: false,
        memory: RAM_UNIT,
        ..args.clone()
    };
    let vm = Vm::new(&kvm, &asked)?;
    attributes::choose(&vm, args)?;
    let cpu = cpu::create(&vm, 0)?;
    let mut dfr0 = [0; 8];
    let get = cpu.get_one_reg(DFR0, &mut dfr0);
    get.trying("KVM_GET_ONE_REG of ID_AA64DFR0_EL1")?;
    let field = |low: u32| (u64::from_le_bytes(dfr0) >> low & 0xf) + 1;
    Ok(Host {
        hash: hash(&vm)?,
        sve_bits: sve_bits(&cpu),
        breakpoints: field(BRPS),
        watchpoints: field(WRPS),
        rmi_1_0: component::is_rmi_1_0(),
    })
}

/// The longest vector; a CPU without SVE does not have the register.
fn sve_bits(cpu: &VcpuFd) -> u64 {
    let mut lengths = [0; 64];
    if cpu.get_one_reg(SVE_VLS, &mut lengths).is_err() {
        return 0;
    }
    let bits = (0..).zip(lengths).map(|(n, byte)| match byte {
        0 => 0,
        byte => n * 8 + u64::from(u8::BITS - byte.leading_zeros()),
    });
    bits.max().unwrap_or(0) * 128
}

fn hash(vm: &Vm) -> Result<Hash> {
    let mut number = 0u64;
    let attribute = kvm_device_attr {
        group: KVM_ARM_VM_RMI_CTRL,
        attr: KVM_ARM_VM_RMI_HASH_ALGO,
        addr: (&raw mut number).expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: The ioctl reads one such structure, and writes the attribute's value, a u64, to where that
    // points.
    let result =
        unsafe { libc::ioctl(vm.fd.as_raw_fd(), KVM_GET_DEVICE_ATTR, &raw const attribute) };
    if result != 0 {
        let error = io::Error::last_os_error();
        return Err(Error::new(
            "KVM_GET_DEVICE_ATTR of a realm's hash algorithm",
            error,
        ));
    }
    let hash = Hash::from_raw(number);
    hash.ok_or_else(|| Error::plain(format!("hash algorithm {number} is not known")))
}
