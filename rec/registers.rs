// SPDX-License-Identifier: GPL-2.0

//! The registers of a realm's vCPU that user space may set (`KVM_SET_ONE_REG`).

use super::rec_vcpu::RecVcpu;
use crate::{
    realm::{pmu_can_have, vm::Vm},
    sys::{platform, prelude::*, user::OneReg, vcpu::Held}, //
};

/// `KVM_REG_ARM64 | KVM_REG_SIZE_U64`.
const ARM64_U64: u64 = 0x6030_0000_0000_0000;

/// `KVM_REG_ARM_CORE`: a core register that is `n` words into `struct kvm_regs`.
const fn core_reg(n: u64) -> u64 {
    ARM64_U64 | (0x10 << 16) | n
}

/// Words that a register of 64 bits takes.
const WORDS: u64 = 2;

/// x0, the first of x0 to x30.
const X0: u64 = core_reg(0);
const X30: u64 = core_reg(30 * WORDS);
/// After x30 and sp.
const PC: u64 = core_reg(32 * WORDS);
/// ID_AA64DFR0_EL1 (`KVM_REG_ARM64_SYSREG`): op0 3, op1 0, CRn 0, CRm 5, op2 0.
const DFR0: u64 = ARM64_U64 | (0x13 << 16) | (3 << 14) | (5 << 3);
/// PMCR_EL0, likewise: op0 3, op1 3, CRn 9, CRm 12, op2 0.
const PMCR: u64 = ARM64_U64 | (0x13 << 16) | (3 << 14) | (3 << 11) | (9 << 7) | (12 << 3);
/// PMCR_EL0.N: how many event counters there are.
const PMCR_N_SHIFT: u32 = 11;
const PMCR_N: u64 = 0x1f << PMCR_N_SHIFT;
/// `KVM_REG_ARM64_SVE_VLS`: the SVE vector lengths, a register of 512 bits.
const SVE_VLS: u64 = 0x6060_0000_0015_ffff;

/// `KVM_REG_ARM_TIMER_CNT` and `KVM_REG_ARM_PTIMER_CNT`: what the counters say.
const TIMER_CNT: u64 = ARM64_U64 | (0x13 << 16) | 0xdf1a;
const PTIMER_CNT: u64 = ARM64_U64 | (0x13 << 16) | 0xdf01;

/// Those of general use.
const GPRS: u64 = 31;
/// Those that every vCPU has: these, PC and ID_AA64DFR0_EL1.
const OTHERS: usize = 33;

/// Whether user space may set a register of a vCPU whose mutex this task holds, which keeps its REC
/// from being made meanwhile. True if there is nothing to do: it has that value, which is no error at
/// any time, since VMMs write back all that they have read.
///
/// # Errors
///
/// `EBUSY` for what the RMM has been told: about the realm, from when there is one, or about the
/// vCPU, from when it is a REC. `EINVAL` for what user space has no business with. `EFAULT`.
pub fn may_set(vm: &Vm, vcpu: &mut Held<'_, RecVcpu>, reg: &OneReg) -> Result<bool> {
    let (vcpu, _) = vcpu.split();
    match reg.id {
        id @ X0..=X30 if (id - X0) % WORDS == 0 => Ok(false),
        PC => same_or_busy(reg, vcpu.pc(), vcpu.rec().is_some()),
        DFR0 => same_or_busy(reg, vm.kvm.id_aa64dfr0(), vm.name.as_ref().is_some()),
        PMCR => match vcpu.pmcr() {
            // KVM has no such register then.
            None => Ok(false),
            Some(now) => may_set_pmcr(vm, reg, now),
        },
        SVE_VLS => match vcpu.sve_vq() {
            None => Ok(false),
            // KVM refuses others as soon as SVE is finalised.
            Some(max_vq) => Ok(reg.value()? == vector_lengths(max_vq)),
        },
        // VMMs set them to stop the time of a VM that does not run. A realm's is the host's.
        TIMER_CNT | PTIMER_CNT => reg.value::<1>().map(|_| true),
        _ => Err(EINVAL),
    }
}

/// As [`may_set`], for PMCR_EL0, of which the number of event counters can be chosen.
///
/// # Errors
///
/// `EBUSY` if the RMM knows the realm. `EINVAL` for a number that the realm cannot have, or if anything
/// else differs from what there is `now`. `EFAULT`.
fn may_set_pmcr(vm: &Vm, reg: &OneReg, now: u64) -> Result<bool> {
    let same = same_or_busy(reg, now, vm.name.as_ref().is_some())?;
    let [wanted] = reg.value()?;
    let counters = (wanted & PMCR_N) >> PMCR_N_SHIFT;
    let can_be = pmu_can_have(&vm.host.negotiated.features, counters);
    match same || can_be && (wanted ^ now) & !PMCR_N == 0 {
        true => Ok(same),
        false => Err(EINVAL),
    }
}

/// True if user space has `now` for a register.
///
/// # Errors
///
/// `EBUSY` for another value, if the RMM `knows` this one. `EFAULT`.
fn same_or_busy(reg: &OneReg, now: u64, knows: bool) -> Result<bool> {
    match reg.value()? == [now] {
        false if knows => Err(EBUSY),
        same => Ok(same),
    }
}

/// What `KVM_GET_ONE_REG` says to [`SVE_VLS`] of a vCPU with vectors of up to `max_vq` quadwords: bit n
/// stands for vectors of n + 1.
fn vector_lengths(max_vq: u64) -> [u64; 8] {
    let there = (1..=max_vq).filter(|vq| platform::sve_vq_available(*vq));
    // There are no more than 16.
    let bits = there.fold(0, |bits, vq| bits | 1 << (vq - 1));
    [bits, 0, 0, 0, 0, 0, 0, 0]
}

/// The number of the `n`th register that may be set; `None` after the last.
pub fn listed(vcpu: &mut Held<'_, RecVcpu>, n: usize) -> Option<u64> {
    let (vcpu, _) = vcpu.split();
    let some_have = [
        (PMCR, vcpu.pmcr().is_some()),
        (SVE_VLS, vcpu.sve_vq().is_some()),
    ];
    let mut others = some_have.iter().filter(|(_, has)| *has);
    match n as u64 {
        n @ 0..GPRS => Some(X0 + n * WORDS),
        GPRS => Some(PC),
        n if n == GPRS + 1 => Some(DFR0),
        _ => others.nth(n - OTHERS).map(|(reg, _)| *reg),
    }
}
