// SPDX-License-Identifier: GPL-2.0

//! What cannot be had of a realm's PMU: one clear error each.

use std::io;

use kvm_bindings::{
    KVM_ARM_VCPU_PMU_V3,
    KVM_ARM_VCPU_PMU_V3_FILTER,
    KVM_ARM_VCPU_PMU_V3_INIT, //
};
use kvm_ioctls::VcpuFd;
use realm_guest::{BASE, PAGE_SIZE};

use super::guest;
use crate::realm::abuse::is_linux_6_12;
use crate::realm::bare::{init_pmu, pmcr, set_pmu, KVM_ARM_VCPU_PMU_V3_STRICT, PMCR, PMCR_N};
use crate::realm::cpu::init;
use crate::realm::memory::Mapping;
use crate::realm::vm::{Shape, Vm};
use crate::realm::{ensure, Result};

/// What the crate's copy of KVM's header has not got yet.
const KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS: u32 = 4;

/// `what` fails with `errno`; with 0 it works.
fn expect<T, E: Into<io::Error>>(
    what: &str,
    result: std::result::Result<T, E>,
    errno: i32,
) -> Result<()> {
    let got = match result {
        Ok(_) => 0,
        Err(error) => error.into().raw_os_error().unwrap_or(-1),
    };
    let name = io::Error::from_raw_os_error;
    ensure!(
        got == errno,
        "{what}: {} instead of {}",
        name(got),
        name(errno)
    );
    Ok(())
}

/// A realm's vCPU with some features.
fn cpu_with(features: &[u32]) -> Result<(Vm, VcpuFd, std::result::Result<(), kvm_ioctls::Error>)> {
    let vm = Vm::new(Shape::REALM)?;
    let cpu = vm.fd.create_vcpu(0)?;
    let mut init = init(&vm, 0)?;
    init.features[0] |= features.iter().fold(0, |all, feature| all | 1 << feature);
    let result = cpu.vcpu_init(&init);
    Ok((vm, cpu, result))
}

/// KVM_SET_ONE_REG of PMCR_EL0.
fn set(cpu: &VcpuFd, value: u64) -> std::result::Result<usize, kvm_ioctls::Error> {
    cpu.set_one_reg(PMCR, &value.to_le_bytes())
}

/// Where the RMM has no PMU for realms.
pub(super) fn without() -> Result<()> {
    let (_vm, _cpu, result) = cpu_with(&[KVM_ARM_VCPU_PMU_V3])?;
    expect("a PMU that there is not", result, libc::EINVAL)
}

/// Where it has one. Returns the most event counters.
pub(super) fn main() -> Result<u64> {
    // Linux 6.12 has heard of neither of the two that are newer.
    let is_old = is_linux_6_12()?;
    let strict = [KVM_ARM_VCPU_PMU_V3, KVM_ARM_VCPU_PMU_V3_STRICT];
    let errno = if is_old { libc::ENOENT } else { libc::EINVAL };
    expect("a strict PMU", cpu_with(&strict)?.2, errno)?;

    let (vm, cpu, result) = cpu_with(&[])?;
    expect("no PMU", result, 0)?;
    expect("its PMCR_EL0", set(&cpu, 0), libc::ENOENT)?;
    let none = set_pmu::<u32>(&cpu, KVM_ARM_VCPU_PMU_V3_INIT, None);
    expect("initialising no PMU", none, libc::ENODEV)?;
    drop((cpu, vm));

    let (vm, cpu, result) = cpu_with(&[KVM_ARM_VCPU_PMU_V3])?;
    expect("a PMU", result, 0)?;
    let now = pmcr(&cpu)?;
    let most = (now & PMCR_N) >> 11;
    ensure!(most != 0, "KVM offers a realm's PMU without counters");
    let with = |counters: u64| now & !PMCR_N | counters << 11;
    for counters in 1..=most {
        expect("fewer counters", set(&cpu, with(counters)), 0)?;
        ensure!(pmcr(&cpu)? == with(counters), "{counters} are not kept");
    }
    expect("no counters", set(&cpu, with(0)), libc::EINVAL)?;
    for counters in most + 1..32 {
        expect("too many counters", set(&cpu, with(counters)), libc::EINVAL)?;
    }
    expect("PMCR_EL0.E", set(&cpu, now ^ 1), libc::EINVAL)?;
    let attr = KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS;
    let number = |n: u64| set_pmu(&cpu, attr, Some(&(n as u32)));
    if is_old {
        expect("an attribute that is newer", number(1), libc::ENXIO)?;
        expect("fewer by the register", set(&cpu, with(1)), 0)?;
    } else {
        expect("too many by the attribute", number(most + 1), libc::EINVAL)?;
        expect("fewer by the attribute", number(1), 0)?;
    }
    ensure!(pmcr(&cpu)? == with(1), "there are as many as before");
    let filter = set_pmu(&cpu, KVM_ARM_VCPU_PMU_V3_FILTER, Some(&0u64));
    expect("a filter", filter, libc::ENXIO)?;

    // The RMM is told with the first page.
    let _gic = vm.add_gic()?;
    let source = Mapping::with_contents(guest::without(), PAGE_SIZE)?;
    vm.populate(BASE, &source, true)?;
    expect("counters of a realm", set(&cpu, with(most)), libc::EBUSY)?;
    expect("what it has", set(&cpu, with(1)), 0)?;
    let mut cpu = cpu;
    expect("running it as it is", cpu.run(), libc::EINVAL)?;
    let early = set_pmu::<u32>(&cpu, KVM_ARM_VCPU_PMU_V3_INIT, None);
    expect("initialising it without an interrupt", early, libc::ENXIO)?;
    if is_old {
        return Ok(most);
    }
    let changed = set_pmu(&cpu, attr, Some(&(most as u32)));
    expect("another number that KVM takes", changed, 0)?;
    init_pmu(&cpu)?;
    if most != 1 {
        expect("running with that", cpu.run(), libc::EINVAL)?;
    }
    Ok(most)
}

/// Of a realm that has run.
pub(super) fn when_it_runs(cpu: &VcpuFd) -> Result<()> {
    let now = pmcr(cpu)?;
    expect("what it has", set(cpu, now), 0)?;
    expect("another number", set(cpu, now ^ 1 << 11), libc::EBUSY)?;
    let again = init_pmu(cpu).map_err(|error| error.to_string());
    ensure!(again.is_err(), "its PMU can be initialised again");
    Ok(())
}
