// SPDX-License-Identifier: GPL-2.0

//! The PMU of a realm.

mod common;

use common::guest::{trap, Host};
use common::realm::{param, params, PAGE, RD};
use common::Machine;
use kvm_arm_rmi::rmi::{Fid, Status};
use rmm::features::{feature_register, CpuId};
use rmm::rec::context::Pmu;
use rmm::rec::Trap;

/// `RmiRecExit`: whether the PMU asks for an interrupt.
const OVF_STATUS: usize = 0x700;
/// ID_AA64DFR0_EL1: FEAT_HPMN0.
const HPMN0: u64 = 1 << 60;

/// PMU and PMU_NUM_CTRS of `RmiFeatureRegister0`.
#[test]
fn the_pmu_is_a_feature() {
    let of = |pmu_counters| {
        let cpu = CpuId {
            pmu_counters,
            ..CpuId::default()
        };
        feature_register(&cpu, 0) >> 26
    };
    assert_eq!(of(None), 0);
    assert_eq!(of(Some(0)), 1);
    assert_eq!(of(Some(6)), 6 << 1 | 1);
    assert_eq!(of(Some(31)), 31 << 1 | 1);
}

/// What REALM_CREATE answers for a PMU with `counters`, on a CPU with `most`.
fn create(most: Option<u8>, dfr0: u64, counters: u64) -> Status {
    let machine = Machine::active();
    if let Some(most) = most {
        machine.fake().set_pmu_counters(most);
    }
    machine.fake().set_dfr0(dfr0);
    machine.delegate(RD, 2);
    let mut page = params();
    page[param::FLAGS0] = 1 << 2;
    page[param::PMU_NUM_CTRS] = counters;
    machine.fake().host_write(PAGE, &page);
    let code = machine.call(Fid::REALM_CREATE, &[RD, PAGE]).x(0);
    match code {
        0 => Status::Success,
        1 => Status::ErrorInput,
        other => panic!("{other:#x}"),
    }
}

#[test]
fn a_realm_has_no_more_counters_than_the_cpu() {
    assert_eq!(create(Some(6), 0, 1), Status::Success);
    assert_eq!(create(Some(6), 0, 6), Status::Success);
    assert_eq!(create(Some(6), 0, 7), Status::ErrorInput);
    // The upper half of the field is ignored.
    assert_eq!(create(Some(6), 0, 1 << 32 | 6), Status::Success);
    assert_eq!(create(Some(31), 0, 31), Status::Success);
    assert_eq!(create(None, 0, 1), Status::ErrorInput);
}

#[test]
fn none_at_all_take_a_cpu_that_can_have_none() {
    assert_eq!(create(Some(6), 0, 0), Status::ErrorInput);
    assert_eq!(create(Some(6), HPMN0, 0), Status::Success);
    assert_eq!(create(None, 0, 0), Status::ErrorInput);
    // As TF-RMM, which does not look at the feature.
    assert_eq!(create(None, HPMN0, 0), Status::Success);
}

#[test]
fn a_rec_starts_with_counters_that_stand_still() {
    let (host, rec) = Host::with_pmu(6, 4);
    let pmu = host.registers(rec).pmu;
    assert_eq!((pmu.present, pmu.counters), (1, 4));
    assert_eq!(pmu.pmcr_el0, 1 << 6 | 1 << 5);
    assert_eq!((pmu.pmcntenset_el0, pmu.pmintenset_el1), (0, 0));
    assert_eq!((pmu.pmovsset_el0, pmu.pmuserenr_el0), (0, 0));

    let (host, rec) = Host::running();
    assert_eq!(host.registers(rec).pmu.present, 0);
}

/// Whether the host is told of an overflow, with this in the registers.
fn told(pmcr: u64, enabled: u64, interrupts: u64, overflows: u64) -> u64 {
    let (host, rec) = Host::with_pmu(6, 6);
    host.fake().cpu.then(move |ctx| {
        ctx.pmu.pmcr_el0 = pmcr;
        ctx.pmu.pmcntenset_el0 = enabled;
        ctx.pmu.pmintenset_el1 = interrupts;
        ctx.pmu.pmovsset_el0 = overflows;
        Trap::Irq
    });
    assert_eq!(host.enter(rec), 1);
    host.exit(OVF_STATUS)
}

#[test]
fn the_host_is_told_of_a_counter_that_is_to_interrupt() {
    assert_eq!(told(0x41, 1 << 31, 1 << 31, 1 << 31), 1);
    assert_eq!(told(1, 0b101, 0b100, 0b110), 1);
    // Nothing is counted; by no counter that has run over; that interrupts; that has run over.
    assert_eq!(told(0x40, 1, 1, 1), 0);
    assert_eq!(told(1, 2, 1, 1), 0);
    assert_eq!(told(1, 3, 2, 1), 0);
    assert_eq!(told(1, 3, 3, 0), 0);
}

#[test]
fn the_host_is_told_at_every_exit() {
    let (host, rec) = Host::with_pmu(6, 6);
    let overflow = |ctx: &mut rmm::rec::Context, bits| {
        ctx.pmu.pmcr_el0 |= 1;
        ctx.pmu.pmcntenset_el0 = 1;
        ctx.pmu.pmintenset_el1 = 1;
        ctx.pmu.pmovsset_el0 = bits;
    };
    assert_eq!(host.enter(rec), 1);
    assert_eq!(host.exit(OVF_STATUS), 0);
    // WFI, while the host wants to know of it.
    host.fake().cpu.then(move |ctx| {
        overflow(ctx, 1);
        trap(1 << 26)
    });
    assert_eq!(host.enter_with(rec, 1 << 2, &[]), 0);
    assert_eq!(host.exit(OVF_STATUS), 1);
    // A timer ends the next one before the realm has run, with the PMU as it was.
    let cpu = &host.fake().cpu;
    cpu.then(|ctx| {
        (ctx.timers.cntv_ctl, ctx.timers.cntv_cval) = (1, 100);
        Trap::Irq
    });
    assert_eq!(host.enter(rec), 1);
    cpu.set_counter(200);
    let (entered, _) = cpu.entries();
    assert_eq!(host.enter(rec), 1);
    assert_eq!((cpu.entries().0, host.exit(OVF_STATUS)), (entered, 1));
    // The realm has seen to it.
    cpu.then(move |ctx| {
        overflow(ctx, 0);
        Trap::Irq
    });
    assert_eq!(host.enter(rec), 1);
    assert_eq!(host.exit(OVF_STATUS), 0);
}

#[test]
fn a_rec_keeps_its_pmu() {
    let (host, rec) = Host::with_pmu(31, 31);
    let state = Pmu {
        present: 1,
        counters: 31,
        pmcr_el0: 0x41,
        pmcntenset_el0: 2,
        pmintenset_el1: 3,
        pmovsset_el0: 4,
        pmselr_el0: 5,
        pmuserenr_el0: 6,
        pmccntr_el0: 7,
        pmccfiltr_el0: 8,
        pmevcntr_el0: core::array::from_fn(|n| 100 + n as u64),
        pmevtyper_el0: core::array::from_fn(|n| 200 + n as u64),
    };
    let before = state.clone();
    host.fake().cpu.then(move |ctx| {
        ctx.pmu = before;
        Trap::Irq
    });
    assert_eq!(host.enter(rec), 1);
    let after = host.registers(rec).pmu;
    assert_eq!(format!("{after:?}"), format!("{state:?}"));
}
