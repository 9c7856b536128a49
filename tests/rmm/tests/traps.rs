// SPDX-License-Identifier: GPL-2.0

//! What a realm does that traps: aborts, system registers, timers.

mod common;

use common::guest::{smc, trap, Host, EMPTY, IPA, UNMAPPED, UNPROTECTED};
use rmm::rec::{Context, Trap};

const RMI_ERROR_REC: u64 = 3;
const DATA_ABORT: u64 = 0x24 << 26;
const INSTRUCTION_ABORT: u64 = 0x20 << 26;
const IL: u64 = 1 << 25;
const ISV: u64 = 1 << 24;
const SSE: u64 = 1 << 21;
const SF: u64 = 1 << 15;
const WNR: u64 = 1 << 6;
const FAULT: u64 = 7;

const EMULATED: u64 = 1;
const INJECT_SEA: u64 = 2;

/// An access of `1 << size` bytes to or from register `rt`.
const fn access(size: u64, rt: u64) -> u64 {
    DATA_ABORT | IL | ISV | size << 22 | rt << 16 | FAULT
}

/// An abort at `ipa`.
fn abort(esr: u64, ipa: u64) -> impl FnOnce(&mut Context) -> Trap + Send + 'static {
    move |ctx| {
        ctx.gprs[5] = 0x1122_3344_5566_7788;
        ctx.el1.vbar_el1 = 0x8_0000;
        ctx.el1.sctlr_el1 = 1 << 23;
        Trap::Sync {
            esr,
            far: 0xffff_0000_0000_0000 | ipa | 0x123,
            hpfar: ipa >> 8 & !0xf,
        }
    }
}

/// True if the REC has taken an external abort in place of an abort that it came from at `pc`.
fn took_external_abort(ctx: &Context, esr: u64) -> bool {
    ctx.pc == 0x8_0200 && ctx.el1.elr_el1 == 0x1000 && ctx.el1.esr_el1 == esr
}

#[test]
fn unprotected_writes_are_shown_to_the_host() {
    let (host, rec) = Host::running();
    for (size, value) in [
        (0, 0x88),
        (1, 0x7788),
        (2, 0x5566_7788),
        (3, 0x1122_3344_5566_7788),
    ] {
        let pc = host.registers(rec).pc;
        host.fake()
            .cpu
            .then(abort(access(size, 5) | WNR, UNPROTECTED));
        assert_eq!(host.enter(rec), 0);
        // Neither the register nor the length of the instruction.
        assert_eq!(
            host.exit(0x100),
            DATA_ABORT | ISV | size << 22 | WNR | FAULT
        );
        assert_eq!(
            (host.exit(0x108), host.exit(0x110)),
            (0x123, UNPROTECTED >> 8)
        );
        assert_eq!(host.exit_gpr(0), value);
        assert_eq!(host.enter_with(rec, EMULATED, &[9]), 0);
        let ctx = host.registers(rec);
        assert_eq!((ctx.pc, ctx.gprs[5]), (pc + 4, 0x1122_3344_5566_7788));
    }
    // XZR.
    host.fake()
        .cpu
        .then(abort(access(3, 31) | WNR, UNPROTECTED));
    assert_eq!(host.enter(rec), 0);
    assert_eq!(host.exit_gpr(0), 0);
}

#[test]
fn unprotected_reads_are_answered_by_the_host() {
    let (host, rec) = Host::running();
    for (esr, value) in [
        (access(0, 5), 0x91),
        (access(0, 5) | SSE, 0xffff_ff91),
        (access(0, 5) | SSE | SF, 0xffff_ffff_ffff_ff91),
        (access(1, 5) | SSE, 0x7191),
        (access(2, 5) | SSE | SF, 0xffff_ffff_8181_7191),
        (access(3, 5) | SF, 0xf1e1_d1c1_8181_7191),
        (access(0, 31), 0x1122_3344_5566_7788),
    ] {
        host.fake().cpu.then(abort(esr, UNPROTECTED));
        assert_eq!(host.enter(rec), 0);
        assert_eq!(host.exit_gpr(0), 0);
        assert_eq!(host.enter_with(rec, EMULATED, &[0xf1e1_d1c1_8181_7191]), 0);
        assert_eq!(host.registers(rec).gprs[5], value, "{esr:#x}");
        // Once.
        assert_eq!(host.enter_with(rec, EMULATED, &[0]), RMI_ERROR_REC);
    }
}

#[test]
fn the_host_can_have_the_access_fail() {
    let (host, rec) = Host::running();
    let esr = access(2, 5) | 1 << 7 | 1 << 10;
    host.fake().cpu.then(abort(esr, UNPROTECTED));
    assert_eq!(host.enter(rec), 0);
    // Emulation is asked for as well, and ignored.
    assert_eq!(host.enter_with(rec, INJECT_SEA | EMULATED, &[1]), 0);
    let ctx = host.registers(rec);
    let wanted = 0x25 << 26 | IL | ISV | 2 << 22 | 5 << 16 | 1 << 9 | 0x10;
    assert!(took_external_abort(&ctx, wanted), "{ctx:x?}");
    assert_eq!(ctx.el1.far_el1, 0xffff_0001_0000_0123);
    assert_eq!((ctx.el1.spsr_el1, ctx.pstate), (0x3c5, 0x3c5));
    assert_eq!(ctx.gprs[5], 0x1122_3344_5566_7788);
}

#[test]
fn an_access_that_is_not_described_cannot_be_emulated() {
    let (host, rec) = Host::running();
    host.fake()
        .cpu
        .then(abort(DATA_ABORT | IL | WNR | FAULT, UNPROTECTED));
    assert_eq!(host.enter(rec), 0);
    // RMI 1.0 tells where it was, and whether it was a write.
    let (told, far) = match host.is_v1() {
        true => (WNR, 0x123),
        false => (IL, 0),
    };
    assert_eq!(host.exit(0x100), DATA_ABORT | told | FAULT);
    assert_eq!(
        (host.exit(0x108), host.exit(0x110)),
        (far, UNPROTECTED >> 8)
    );
    assert_eq!(host.exit_gpr(0), 0);
    assert_eq!(host.enter_with(rec, EMULATED, &[]), RMI_ERROR_REC);
    // An external abort is possible.
    assert_eq!(host.enter_with(rec, INJECT_SEA, &[]), 0);
    // In AArch32 state, nothing is described.
    host.fake().cpu.then(|ctx| {
        ctx.pstate = 0x10;
        abort(access(2, 5), UNPROTECTED)(ctx)
    });
    assert_eq!(host.enter(rec), 0);
    assert_eq!(host.exit(0x100), DATA_ABORT | FAULT);
    assert_eq!(host.enter_with(rec, EMULATED, &[]), RMI_ERROR_REC);
}

#[test]
fn protected_aborts_say_no_more_than_where() {
    let (host, rec) = Host::running();
    host.fake().cpu.then(abort(access(3, 5) | WNR, UNMAPPED));
    assert_eq!(host.enter(rec), 0);
    assert_eq!(host.exit(0x100), DATA_ABORT | FAULT);
    assert_eq!((host.exit(0x108), host.exit(0x110)), (0, UNMAPPED >> 8));
    assert_eq!(host.exit_gpr(0), 0);
    for flags in [EMULATED, INJECT_SEA, EMULATED | INJECT_SEA] {
        assert_eq!(host.enter_with(rec, flags, &[]), RMI_ERROR_REC);
    }
    host.fake()
        .cpu
        .then(abort(INSTRUCTION_ABORT | IL | FAULT, UNMAPPED));
    assert_eq!(host.enter(rec), 0);
    assert_eq!(host.exit(0x100), INSTRUCTION_ABORT | FAULT);
    assert_eq!(host.exit(0x110), UNMAPPED >> 8);
    assert_eq!(host.enter_with(rec, INJECT_SEA, &[]), RMI_ERROR_REC);
}

#[test]
fn what_the_realm_must_not_access_is_an_external_abort() {
    for (esr, ipa) in [
        (access(3, 5), EMPTY),
        (access(3, 5), 1 << 33),
        (INSTRUCTION_ABORT | IL | FAULT, EMPTY),
        (INSTRUCTION_ABORT | IL | FAULT, UNPROTECTED),
        (INSTRUCTION_ABORT | IL | 0xf, IPA),
    ] {
        let (host, rec) = Host::running();
        host.fake().cpu.then(abort(esr, ipa));
        let ctx = host.registers(rec);
        let wanted = esr & !0x3f | 1 << 26 | 1 << 9 | 0x10;
        assert!(
            took_external_abort(&ctx, wanted),
            "{esr:#x} {ipa:#x} {ctx:x?}"
        );
    }
}

#[test]
fn vectors_and_pstate_of_an_exception() {
    for (pstate, ease, vector) in [
        (0x3c4, false, 0x000),
        (0x3c5, false, 0x200),
        (0x3c0, false, 0x400),
        (0x3d0, false, 0x600),
        (0x3c5, true, 0x380),
        (0x3c0, true, 0x580),
    ] {
        let (host, rec) = Host::running();
        host.fake().cpu.then(move |ctx| {
            ctx.pstate = 0xf100_0000 | pstate & !0x3c0;
            ctx.el1.sctlr2_el1 = if ease { 1 << 5 } else { 0 };
            abort(access(3, 5), EMPTY)(ctx)
        });
        let ctx = host.registers(rec);
        assert_eq!(ctx.pc, 0x8_0000 + vector);
        // NZCV and DIT stay, everything is masked, EL1 with its own stack.
        assert_eq!(ctx.pstate, 0xf100_03c5);
        let class = if pstate & 0xf == 0 { 0x24 } else { 0x25 };
        assert_eq!(ctx.el1.esr_el1 >> 26, class);
    }
}

#[test]
fn pstate_of_an_exception_follows_sctlr() {
    let (host, rec) = Host::running();
    let cpu = &host.fake().cpu;
    // SSBS and NMI, and MTE2, which realms do not see.
    cpu.set_id_register(4, 1, 1 << 4 | 2 << 8 | 1 << 36);
    cpu.then(|ctx| {
        ctx.el1.sctlr_el1 = 1 << 44;
        trap(0x16 << 26)
    });
    let ctx = host.registers(rec);
    // SSBS, ALLINT, PAN.
    assert_eq!(ctx.pstate, 0x3c5 | 1 << 12 | 1 << 13 | 1 << 22);
    assert_eq!(ctx.el1.esr_el1, IL);
}

#[test]
fn external_aborts_are_told_to_the_host() {
    let external = |set: u64| DATA_ABORT | IL | set << 11 | 1 << 10 | 0x10;
    let (host, rec) = Host::running();
    // Restartable.
    host.fake().cpu.then(abort(external(3), IPA));
    assert_eq!(host.enter(rec), 0);
    assert_eq!(host.exit(0x100), DATA_ABORT | 3 << 11 | 1 << 10 | 0x10);
    assert_eq!((host.exit(0x108), host.exit(0x110)), (0, 0));
    assert_eq!(host.registers(rec).pc, 0x1000);
    // Recoverable: the realm is told as well.
    host.fake().cpu.then(abort(external(0), IPA));
    assert_eq!(host.enter(rec), 0);
    assert_eq!(host.exit(0x100), DATA_ABORT | 1 << 10 | 0x10);
    let ctx = host.registers(rec);
    assert!(took_external_abort(&ctx, 0x25 << 26 | IL | 1 << 9 | 0x10));
}

#[test]
#[should_panic(expected = "external abort")]
fn an_uncontainable_abort_stops_the_rmm() {
    let (host, rec) = Host::running();
    host.fake()
        .cpu
        .then(abort(DATA_ABORT | 2 << 11 | 0x10, IPA));
    host.enter(rec);
}

#[test]
fn serrors() {
    let serror = |aet: u64| 0x2f << 26 | IL | aet << 10 | 1 << 9 | 0x11;
    let (host, rec) = Host::running();
    for (aet, told) in [(1, true), (2, false), (3, true), (6, false)] {
        host.fake()
            .cpu
            .then(move |_| Trap::SError { esr: serror(aet) });
        assert_eq!(host.enter(rec), 6);
        assert_eq!(host.exit(0x100), serror(aet) & !IL);
        let ctx = host.registers(rec);
        assert_eq!(ctx.el2.hcr_el2 >> 8 & 1 == 1, told, "{aet}");
        if told {
            assert_eq!(ctx.el2.vsesr_el2, serror(aet));
        }
        // Once.
        assert_eq!(host.registers(rec).el2.hcr_el2 >> 8 & 1, 0);
    }
}

#[test]
#[should_panic(expected = "SError")]
fn an_uncontainable_serror_stops_the_rmm() {
    let (host, rec) = Host::running();
    host.fake().cpu.then(|_| Trap::SError {
        esr: 0x2f << 26 | 1 << 24 | 0x11,
    });
    host.enter(rec);
}

/// ESR_EL2 of an access to a system register.
const fn sysreg(op0: u64, op1: u64, crn: u64, crm: u64, op2: u64, rt: u64, read: bool) -> u64 {
    let encoding = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1;
    0x18 << 26 | IL | encoding | rt << 5 | read as u64
}

#[test]
fn identification_registers() {
    let (host, rec) = Host::running();
    identification_registers_of(&host, rec, 0xf000_0000_00f0_f00f);
    // The version of the PMU, where there is one.
    let (host, rec) = Host::with_pmu(6, 6);
    identification_registers_of(&host, rec, 0xf000_0000_00f0_ff0f);
}

/// Reads them all. `dfr0`: what is seen of ID_AA64DFR0_EL1.
fn identification_registers_of(host: &Host, rec: u64, dfr0: u64) {
    for crm in 0..8 {
        for op2 in 0..8 {
            host.fake().cpu.set_id_register(crm, op2, u64::MAX);
        }
    }
    let seen = |crm, op2| match (crm, op2) {
        (4, 0) => 0xffff_00f0_ffff_ffff,
        (4, 1) => 0x0f00_00ff_f000_f0ff,
        (4, 2) => 0x0000_0000_000f_0000,
        (5, 0) => dfr0,
        (5, 1) => 0xff00_0f00_00ff_ff00,
        (5, 2) => 0x0000_0000_0000_00f0,
        (6, 0 | 1) | (7, 0..=2) => u64::MAX,
        (6, 2) => 0x0000_00ff_0f0f_ff0f,
        (7, 3) => 0xfff0_ffff_f00f_0fff,
        (7, 4) => 0x0000_00f0_ffff_ffff,
        _ => 0,
    };
    for crm in 1..8 {
        for op2 in 0..8 {
            host.fake().cpu.then(move |ctx| {
                ctx.gprs[7] = 1;
                trap(sysreg(3, 0, 0, crm, op2, 7, true))
            });
            assert_eq!(host.registers(rec).gprs[7], seen(crm, op2), "{crm} {op2}");
        }
    }
    host.fake()
        .cpu
        .then(|_| trap(sysreg(3, 0, 0, 4, 0, 31, true)));
    assert_eq!(host.registers(rec).pc, 0x1000 + 4 * 57);
}

#[test]
fn registers_of_the_interrupt_controller_are_the_hosts() {
    let (host, rec) = Host::running();
    // ICC_SGI1R_EL1 is written.
    host.fake().cpu.then(|ctx| {
        ctx.gprs[3] = 0x77;
        trap(sysreg(3, 0, 12, 11, 5, 3, false))
    });
    assert_eq!(host.enter(rec), 0);
    assert_eq!(host.exit(0x100), sysreg(3, 0, 12, 11, 5, 0, false));
    assert_eq!(host.exit_gpr(0), 0x77);
    host.fake().cpu.then(|ctx| {
        // Nothing comes back from a write.
        assert_eq!((ctx.gprs[3], ctx.pc), (0x77, 0x1004));
        trap(sysreg(3, 0, 4, 6, 0, 3, true))
    });
    assert_eq!(host.enter_with(rec, 0, &[5]), 0);
    assert_eq!(host.exit(0x100), sysreg(3, 0, 4, 6, 0, 0, true));
    assert_eq!(host.exit_gpr(0), 0);
    host.fake().cpu.then(|ctx| {
        assert_eq!((ctx.gprs[3], ctx.pc), (0x99, 0x1008));
        Trap::Irq
    });
    assert_eq!(host.enter_with(rec, 0, &[0x99]), 0);
}

#[test]
fn other_system_registers() {
    let (host, rec) = Host::running();
    // A PMU register reads as 0 and ignores writes.
    host.fake().cpu.then(|ctx| {
        ctx.gprs[3] = 1;
        trap(sysreg(3, 3, 9, 12, 0, 3, true))
    });
    host.fake()
        .cpu
        .then(|_| trap(sysreg(3, 3, 9, 12, 0, 3, false)));
    let ctx = host.registers(rec);
    assert_eq!((ctx.gprs[3], ctx.pc), (0, 0x1008));
    // BRBCR_EL1, MPAM1_EL1, S2POR_EL1, floating point and SVE that the realm has not got, HVC.
    let undefined = [
        sysreg(2, 1, 9, 0, 0, 3, true),
        sysreg(3, 0, 10, 5, 0, 3, true),
        sysreg(3, 0, 10, 2, 5, 3, false),
        0x07 << 26,
        0x19 << 26,
        0x1d << 26,
        0x16 << 26,
    ];
    for esr in undefined {
        host.fake().cpu.then(move |ctx| {
            ctx.el1.vbar_el1 = 0x8_0000;
            ctx.pc = 0x3000;
            ctx.pstate = 0x3c5;
            trap(esr)
        });
        let ctx = host.registers(rec);
        assert_eq!(
            (ctx.pc, ctx.el1.elr_el1, ctx.el1.esr_el1),
            (0x8_0200, 0x3000, IL)
        );
    }
}

#[test]
fn timers_are_told_when_their_output_changes() {
    let (host, rec) = Host::running();
    let cpu = &host.fake().cpu;
    cpu.set_counter(100);
    cpu.then(|ctx| {
        ctx.timers.cntv_ctl = 1;
        ctx.timers.cntv_cval = 200;
        // Masked by the realm.
        ctx.timers.cntp_ctl = 3;
        ctx.timers.cntp_cval = 50;
        Trap::Irq
    });
    assert_eq!(host.enter(rec), 1);
    assert_eq!([0x400, 0x408].map(|at| host.exit(at)), [7, 50]);
    assert_eq!([0x410, 0x418].map(|at| host.exit(at)), [1, 200]);

    // Time passes while the REC does not run: the host is told before the realm runs.
    cpu.set_counter(200);
    let (entered, _) = cpu.entries();
    assert_eq!(host.enter(rec), 1);
    assert_eq!(cpu.entries().0, entered);
    assert_eq!(host.exit(0x410), 5);
    // The realm runs with the interrupt masked from then on.
    cpu.then(|ctx| {
        assert_eq!(ctx.timers.cnthctl_el2, 1 << 10 | 1 << 11 | 1 << 18);
        // It sets the timer again, and calls.
        ctx.timers.cntv_cval = 300;
        smc(&[0xc400_0191])(ctx)
    });
    // That is a change as well.
    assert_eq!(host.enter(rec), 1);
    assert_eq!((host.exit(0x410), host.exit(0x418)), (1, 300));
    cpu.then(|ctx| {
        assert_eq!(ctx.timers.cnthctl_el2, 1 << 10 | 1 << 11);
        Trap::Irq
    });
    assert_eq!(host.enter(rec), 1);
}
