// SPDX-License-Identifier: GPL-2.0

//! VMs with one vCPU that run a few instructions of a test's own, instead of the guest.

use std::io;

use kvm_bindings::{
    kvm_device_attr,
    KVM_ARM_VCPU_PMU_V3,
    KVM_ARM_VCPU_PMU_V3_CTRL,
    KVM_ARM_VCPU_PMU_V3_INIT,
    KVM_ARM_VCPU_PMU_V3_IRQ,
    KVM_ARM_VCPU_SVE, //
};
use kvm_ioctls::VcpuFd;
use realm_guest::{BASE, MAILBOXES, PAGE_SIZE};

use super::cpu::{init, x, PC};
use super::memory::Mapping;
use super::vm::{Shape, Vm};
use super::{ensure, Result};

/// The bit of an IPA that means the shared half, where IPAs have 40 bits.
pub(super) const SHARED: u64 = 1 << 39;
/// `KVM_REG_ARM64_SVE_VLS`: the SVE vector lengths, a register of 512 bits.
const SVE_VLS: u64 = 0x6060_0000_0015_ffff;
/// PMCR_EL0, and how many event counters it says that there are.
pub(super) const PMCR: u64 = 0x6030_0000_0013_dce0;
pub(super) const PMCR_N: u64 = 0x1f << 11;
/// `KVM_ARM_VCPU_PMU_V3_STRICT`, which the crate's copy of KVM's header has not got yet.
pub(super) const KVM_ARM_VCPU_PMU_V3_STRICT: u32 = 9;
/// The interrupt of a vCPU's PMU: a private one.
pub(super) const PMU_INTERRUPT: u32 = 23;

/// Which lengths a vCPU's SVE vectors have.
#[derive(Clone, Copy)]
pub(super) enum Lengths {
    /// All that KVM offers.
    Default,
    /// Those that the host has of up to so many bits.
    UpTo(u64),
}

/// What a vCPU has that others may not have.
#[derive(Clone, Copy)]
pub(super) enum With {
    /// Nothing.
    Nothing,
    /// SVE.
    Sve(Lengths),
    /// A PMU with so many event counters, or with as many as KVM offers.
    Pmu(Option<u64>),
}

/// The VM and its vCPU, which has not run.
pub(super) struct Bare {
    // Until here the vCPU needs its VM.
    pub(super) cpu: VcpuFd,
    pub(super) realm: bool,
    _vm: Vm,
}

impl Bare {
    /// A VM whose vCPU begins with `code`, at most a page of it that runs wherever it is. Its X0 is
    /// the address of a device, others have the values of `registers`.
    pub(super) fn new(
        shape: Shape,
        code: &[u8],
        with: With,
        registers: &[(u64, u64)],
    ) -> Result<Self> {
        ensure!(
            code.len() as u64 <= PAGE_SIZE,
            "the code is longer than a page"
        );
        let vm = Vm::new(shape)?;
        let cpu = vm.fd.create_vcpu(0)?;
        let mut init = init(&vm, 0)?;
        init.features[0] |= match with {
            With::Nothing => 0,
            With::Sve(_) => 1 << KVM_ARM_VCPU_SVE,
            With::Pmu(_) => 1 << KVM_ARM_VCPU_PMU_V3,
        };
        cpu.vcpu_init(&init)?;
        match with {
            With::Nothing => {}
            With::Sve(lengths) => finalize_sve(&cpu, lengths)?,
            With::Pmu(counters) => set_counters(&cpu, counters)?,
        }
        let _gic = vm.add_gic()?;
        if let With::Pmu(_) = with {
            init_pmu(&cpu)?;
        }
        let source = Mapping::with_contents(code, PAGE_SIZE)?;
        if shape.realm {
            vm.populate(BASE, &source, true)?;
        } else {
            for offset in (0..PAGE_SIZE).step_by(8) {
                vm.write_shared(BASE + offset, source.read(offset))?;
            }
        }
        cpu.set_one_reg(PC, &BASE.to_le_bytes())?;
        cpu.set_one_reg(x(0), &at(shape, MAILBOXES).to_le_bytes())?;
        for (number, value) in registers {
            cpu.set_one_reg(x(*number), &value.to_le_bytes())?;
        }
        Ok(Self {
            cpu,
            realm: shape.realm,
            _vm: vm,
        })
    }
}

/// Where the guest of such a VM has a device that the VMM has at `ipa`.
pub(super) fn at(shape: Shape, ipa: u64) -> u64 {
    match shape.realm {
        true => ipa | SHARED,
        false => ipa,
    }
}

fn finalize_sve(cpu: &VcpuFd, lengths: Lengths) -> Result<()> {
    if let Lengths::UpTo(bits) = lengths {
        let mut all = [0; 64];
        cpu.get_one_reg(SVE_VLS, &mut all)?;
        // Bit n stands for n + 1 quadwords, of which there are 16 at most.
        let kept = u16::from_le_bytes([all[0], all[1]]) & (u32::MAX >> (32 - bits / 128)) as u16;
        let mut wanted = [0; 64];
        wanted[..2].copy_from_slice(&kept.to_le_bytes());
        cpu.set_one_reg(SVE_VLS, &wanted)?;
    }
    cpu.vcpu_finalize(&KVM_ARM_VCPU_SVE.try_into()?)?;
    Ok(())
}

/// PMCR_EL0 as KVM has it.
pub(super) fn pmcr(cpu: &VcpuFd) -> Result<u64> {
    let mut value = [0; 8];
    cpu.get_one_reg(PMCR, &mut value)?;
    Ok(u64::from_le_bytes(value))
}

fn set_counters(cpu: &VcpuFd, counters: Option<u64>) -> Result<()> {
    if let Some(counters) = counters {
        let value = pmcr(cpu)? & !PMCR_N | counters << 11;
        cpu.set_one_reg(PMCR, &value.to_le_bytes())?;
    }
    Ok(())
}

/// An attribute of a vCPU's PMU; `value` is what it is set to, if anything is.
pub(super) fn set_pmu<T>(cpu: &VcpuFd, attr: u32, value: Option<&T>) -> io::Result<()> {
    let addr = value.map_or(0, |value| std::ptr::from_ref(value).addr() as u64);
    Ok(cpu.set_device_attr(&kvm_device_attr {
        group: KVM_ARM_VCPU_PMU_V3_CTRL,
        attr: attr.into(),
        addr,
        flags: 0,
    })?)
}

/// What a PMU takes once the interrupt controller is there.
pub(super) fn init_pmu(cpu: &VcpuFd) -> Result<()> {
    set_pmu(cpu, KVM_ARM_VCPU_PMU_V3_IRQ, Some(&PMU_INTERRUPT))?;
    set_pmu::<u32>(cpu, KVM_ARM_VCPU_PMU_V3_INIT, None)?;
    Ok(())
}

/// The instructions from the first address on, to the second.
///
/// # Safety
///
/// They are those of one piece of code that is never changed.
pub(super) unsafe fn code_between(start: *const u8, end: *const u8) -> &'static [u8] {
    // SAFETY: The caller has seen to it.
    unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}
