// SPDX-License-Identifier: GPL-2.0

//! Running a realm on this CPU: what is loaded for it, and what is the host's again afterwards.
//!
//! EL3 switches the registers of EL2 between the host and the RMM. Those of EL1 and EL0 are still the
//! host's when the RMM gets the CPU, and are lent to the realm from the first [`run`] until
//! [`leave`].

use core::arch::global_asm;

use rmm::rec::context::{Context, El1, Pmu, Timers, Trap};
use spin::Mutex;

use crate::arch::{self, mrs, msr};
use crate::cpu::{self, Features};
use crate::{el1, gic, layout, pmu, simd, timer};

global_asm!(include_str!("realm.S"));

extern "C" {
    /// Enters the realm with x0 to x30 from `gprs`, and returns with them there at the next exception:
    /// 0 synchronous, 1 IRQ, 2 FIQ, 3 SError.
    fn realm_enter(gprs: *mut u64) -> u64;
}

/// HCR_EL2: an SError is pending for EL1 (VSE).
const HCR_VSE: u64 = 1 << 8;

/// ESR_EL2, position of the exception class.
const EC_SHIFT: u32 = 26;
/// Exception class: floating point was used.
const EC_FP: u64 = 0x07;
/// Exception class: SVE was used.
const EC_SVE: u64 = 0x19;

/// Registers of the host's.
struct Host {
    el1: El1,
    timers: Timers,
    pmu: pmu::Host,
}

/// What a CPU keeps for the host while it runs a realm.
struct Cpu {
    /// `Some` from the first [`run`] until [`leave`].
    host: Option<Host>,
    simd: simd::Host,
}

static CPUS: [Mutex<Cpu>; layout::MAX_CPUS as usize] = [const {
    Mutex::new(Cpu {
        host: None,
        simd: simd::Host::NEW,
    })
}; layout::MAX_CPUS as usize];

/// Runs `f` on the state of this CPU, which no other looks at.
fn with_this_cpu<R>(f: impl FnOnce(&mut Cpu) -> R) -> R {
    f(&mut CPUS[arch::cpu() as usize].lock())
}

/// `Platform::run`.
pub(crate) fn run(ctx: &mut Context) -> Trap {
    let features = Features::read();
    with_this_cpu(|cpu| {
        if cpu.host.is_none() {
            cpu.host = Some(take_over(&features, &ctx.pmu));
            if ctx.vgic.switched != 0 {
                gic::load(&ctx.vgic);
            }
        }
        timer::load_control(&ctx.timers);
        timer::load(&ctx.timers);
        timer::settle(&ctx.timers);
        if cpu.simd.is_streaming(&features) {
            cpu.simd.lend(&features, &ctx.simd);
        }

        load(&features, ctx);
        let trap = loop {
            msr!("cptr_el2", cpu.simd.cptr(&ctx.simd));
            // SAFETY: `load` has loaded everything that the realm can see of the CPU, stage 2
            // included, which has nothing but what the library put there. What comes back has the
            // RMM's stack and its preserved registers.
            let kind = unsafe { realm_enter(ctx.gprs.as_mut_ptr()) };
            msr!("cptr_el2", cpu::CPTR_RMM);
            arch::isb();
            let trap = trap(kind);
            if cpu.simd.is_lent() || !wants_simd(&trap, ctx) {
                break trap;
            }
            cpu.simd.lend(&features, &ctx.simd);
        };
        save(&features, ctx);
        trap
    })
}

/// `Platform::leave`.
pub(crate) fn leave(ctx: &mut Context) {
    let features = Features::read();
    with_this_cpu(|cpu| {
        cpu.simd.take_back(&features, &ctx.simd);
        if let Some(host) = cpu.host.take() {
            give_back(&features, &host, &mut ctx.pmu);
            if ctx.vgic.switched != 0 {
                gic::save(&mut ctx.vgic);
            }
        }
    });
    gic::disable_virtual();
}

/// True if the realm has touched floating-point or SVE registers that it may use.
fn wants_simd(trap: &Trap, ctx: &Context) -> bool {
    let Trap::Sync { esr, .. } = trap else {
        return false;
    };
    match esr >> EC_SHIFT & 0x3f {
        EC_FP => true,
        EC_SVE => ctx.simd.sve != 0,
        _ => false,
    }
}

/// The exception of `kind` that this CPU has just taken.
fn trap(kind: u64) -> Trap {
    match kind {
        0 => Trap::Sync {
            esr: arch::esr(),
            far: arch::far(),
            hpfar: arch::hpfar(),
        },
        1 => Trap::Irq,
        2 => Trap::Fiq,
        _ => Trap::SError { esr: arch::esr() },
    }
}

/// Saves what is the host's, and loads the realm's PMU if it has one.
fn take_over(features: &Features, pmu: &Pmu) -> Host {
    let mut host = Host {
        el1: El1::default(),
        timers: Timers::default(),
        pmu: pmu::Host::take_over(features, pmu),
    };
    el1::save(features, &mut host.el1);
    timer::save(&mut host.timers);
    host
}

/// Loads what is the host's, and saves the realm's PMU if it has one.
fn give_back(features: &Features, host: &Host, pmu: &mut Pmu) {
    host.pmu.give_back(features, pmu);
    el1::load(features, &host.el1);
    timer::load(&host.timers);
}

/// Loads a realm's registers, except for the timers and for x0 to x30.
fn load(features: &Features, ctx: &Context) {
    el1::load(features, &ctx.el1);
    if features.pauth {
        el1::load_keys(&ctx.keys);
    }
    msr!("vmpidr_el2", ctx.el2.vmpidr_el2);
    if features.ras {
        // VSESR_EL2.
        msr!("s3_4_c5_c2_3", ctx.el2.vsesr_el2);
    }
    msr!("elr_el2", ctx.pc);
    msr!("spsr_el2", ctx.pstate);

    // Stage 2 of the realm comes into force when everything that could be translated with it ahead of
    // time is the realm's.
    msr!("vtcr_el2", ctx.el2.vtcr_el2 | features.vtcr);
    arch::isb();
    msr!("vttbr_el2", ctx.el2.vttbr_el2);
    msr!("hcr_el2", ctx.el2.hcr_el2);
    arch::isb();
}

/// Saves what [`load`] and [`timer::load`] loaded, as far as the realm can change it, and lets go of
/// stage 2.
fn save(features: &Features, ctx: &mut Context) {
    let hcr = mrs!("hcr_el2");
    msr!("vttbr_el2", cpu::vttbr_idle());
    msr!("hcr_el2", cpu::HCR_RMM);
    arch::isb();
    ctx.el2.hcr_el2 = ctx.el2.hcr_el2 & !HCR_VSE | hcr & HCR_VSE;
    ctx.pc = arch::elr();
    ctx.pstate = mrs!("spsr_el2");
    el1::save(features, &mut ctx.el1);
    timer::save(&mut ctx.timers);
    if features.pauth {
        el1::save_keys(&mut ctx.keys);
    }
}
