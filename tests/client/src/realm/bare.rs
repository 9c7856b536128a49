// SPDX-License-Identifier: GPL-2.0

//! VMs with one vCPU that run a few instructions of a test's own, instead of the guest.

use kvm_bindings::KVM_ARM_VCPU_SVE;
use kvm_ioctls::VcpuFd;
use realm_guest::{BASE, MAILBOXES, PAGE_SIZE};

use super::cpu::{init, x, PC};
use super::memory::Mapping;
use super::vm::{Shape, Vm};
use super::{ensure, Result};

/// The bit of an IPA that means the shared half, where IPAs have 40 bits.
const SHARED: u64 = 1 << 39;
/// `KVM_REG_ARM64_SVE_VLS`: the SVE vector lengths, a register of 512 bits.
const SVE_VLS: u64 = 0x6060_0000_0015_ffff;

/// Which lengths a vCPU's SVE vectors have.
#[derive(Clone, Copy)]
pub(super) enum Lengths {
    /// All that KVM offers.
    Default,
    /// Those that the host has of up to so many bits.
    UpTo(u64),
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
        sve: Option<Lengths>,
        registers: &[(u64, u64)],
    ) -> Result<Self> {
        ensure!(
            code.len() as u64 <= PAGE_SIZE,
            "the code is longer than a page"
        );
        let vm = Vm::new(shape)?;
        let cpu = vm.fd.create_vcpu(0)?;
        let mut init = init(&vm, 0)?;
        if sve.is_some() {
            init.features[0] |= 1 << KVM_ARM_VCPU_SVE;
        }
        cpu.vcpu_init(&init)?;
        if let Some(lengths) = sve {
            if let Lengths::UpTo(bits) = lengths {
                let mut all = [0; 64];
                cpu.get_one_reg(SVE_VLS, &mut all)?;
                // Bit n stands for n + 1 quadwords, of which there are 16 at most.
                let kept =
                    u16::from_le_bytes([all[0], all[1]]) & (u32::MAX >> (32 - bits / 128)) as u16;
                let mut wanted = [0; 64];
                wanted[..2].copy_from_slice(&kept.to_le_bytes());
                cpu.set_one_reg(SVE_VLS, &wanted)?;
            }
            cpu.vcpu_finalize(&KVM_ARM_VCPU_SVE.try_into()?)?;
        }
        let _gic = vm.add_gic()?;
        let source = Mapping::with_contents(code, PAGE_SIZE)?;
        if shape.realm {
            vm.populate(BASE, &source, true)?;
        } else {
            for offset in (0..PAGE_SIZE).step_by(8) {
                vm.write_shared(BASE + offset, source.read(offset))?;
            }
        }
        let device = match shape.realm {
            true => MAILBOXES | SHARED,
            false => MAILBOXES,
        };
        cpu.set_one_reg(PC, &BASE.to_le_bytes())?;
        cpu.set_one_reg(x(0), &device.to_le_bytes())?;
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

/// The instructions from the first address on, to the second.
///
/// # Safety
///
/// They are those of one piece of code that is never changed.
pub(super) unsafe fn code_between(start: *const u8, end: *const u8) -> &'static [u8] {
    // SAFETY: The caller has seen to it.
    unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}
