// SPDX-License-Identifier: GPL-2.0

//! What an exit means, from pages that a test writes: also what no good RMM would report.

use crate::fake::Page;
use kvm_arm_rmi::exit::{
    decode,
    Access,
    Exit,
    Fault,
    Half,
    HostCall,
    Malformed,
    Psci,
    Question,
    Refused,
    Ripas,
    Sync,
    Sysreg, //
};
use kvm_arm_rmi::rec::Vcpu;
use kvm_arm_rmi::rmi::{IpaSpace, ReturnCode, SharedPage};
use proptest::prelude::*;

const SUCCESS: ReturnCode = ReturnCode::new(0);
const BITS: u32 = 39;
const UNPROTECTED: u64 = 1 << 38;

const REASON: usize = 0x800;
const ESR: usize = 0x900;
const FAR: usize = 0x908;
const HPFAR: usize = 0x910;
const GPRS: usize = 0xa00;
const RIPAS_BASE: usize = 0xd00;
const RIPAS_TOP: usize = 0xd08;
const RIPAS_VALUE: usize = 0xd10;
const IMM: usize = 0xe00;

const DATA_ABORT: u64 = 0x24 << 26;
const INSTRUCTION_ABORT: u64 = 0x20 << 26;
const SYSREG: u64 = 0x18 << 26;
const WFX: u64 = 0x01 << 26;
const IL: u64 = 1 << 25;
const ISV: u64 = 1 << 24;
const WNR: u64 = 1 << 6;

fn space() -> IpaSpace {
    IpaSpace::new(BITS).unwrap()
}

fn page(words: &[(usize, u64)]) -> Page {
    let mut page = Page::new();
    for (offset, value) in words {
        page.write(*offset, *value);
    }
    page
}

/// What an exit with these words means.
fn exit(words: &[(usize, u64)]) -> Exit {
    decode(SUCCESS, &page(words), space()).unwrap()
}

/// What an abort means.
fn abort(esr: u64, ipa: u64) -> Exit {
    exit(&[
        (ESR, esr),
        (FAR, 0xffff_0000_1234_5678),
        (HPFAR, ipa >> 8),
        (GPRS, 0x77),
    ])
}

#[test]
fn entries_that_were_refused() {
    let refused = |x0| decode(ReturnCode::new(x0), &Page::new(), space()).unwrap_err();
    // ERROR_REALM, of a realm that is new and of one that is off.
    assert_eq!(refused(2), Refused::RealmOff);
    assert_eq!(refused(0x102), Refused::RealmOff);
    assert_eq!(refused(3), Refused::NotReady);
    for x0 in [1, 4, 10, 13, 0xff, u64::MAX] {
        assert_eq!(refused(x0), Refused::Failed(ReturnCode::new(x0)));
    }
}

/// By ESR_EL2.AET: whether only the realm is harmed, which then knows.
const SERRORS: [bool; 8] = [false, true, true, true, false, false, true, false];

#[test]
fn interrupts_and_errors() {
    assert_eq!(exit(&[(REASON, 1)]), Exit::Irq);
    assert_eq!(exit(&[(REASON, 2)]), Exit::Fiq);
    for (aet, contained) in [0, 1, 2, 3, 4, 5, 6, 7].into_iter().zip(SERRORS) {
        let esr = 0x2f << 26 | aet << 10 | 0x11;
        let wanted = Exit::SError { esr, contained };
        assert_eq!(exit(&[(REASON, 6), (ESR, esr)]), wanted);
        // Without a syndrome, or in a form of the CPU's own.
        for esr in [esr & !0x3f, esr | 1 << 24] {
            let wanted = Exit::SError {
                esr,
                contained: false,
            };
            assert_eq!(exit(&[(REASON, 6), (ESR, esr)]), wanted);
        }
    }
}

#[test]
fn reasons_that_nobody_knows_are_kept() {
    for reason in [7, 8, 9, 10, 0xff] {
        assert_eq!(
            exit(&[(REASON, u64::from(reason))]),
            Exit::Unknown { reason }
        );
    }
    // The reason is one byte; the others are not part of it.
    assert_eq!(exit(&[(REASON, 0xffff_ff01)]), Exit::Irq);
}

#[test]
fn accesses_that_can_be_emulated() {
    let ipa = UNPROTECTED | 0x0900_0000;
    // A register, an extension and fields from elsewhere, of which KVM must see nothing.
    let hidden = 1 << 21 | 29 << 16 | 1 << 14 | 1 << 8 | 1 << 7 | 3 << 11 | 1 << 9 | 1 << 40;
    for size in 0..4 {
        let described = DATA_ABORT | ISV | size << 22 | 1 << 15 | 6;
        let fault = Fault {
            esr: described | IL,
            ipa: 0x0900_0000,
            offset: 0x678,
            half: Half::Unprotected,
            access: Access::Read,
        };
        assert_eq!(
            abort(described | hidden, ipa),
            Exit::Sync(Sync::Fault(fault))
        );
        let write = Fault {
            esr: described | IL | WNR,
            access: Access::Write(0x77),
            ..fault
        };
        assert_eq!(
            abort(described | hidden | WNR, ipa),
            Exit::Sync(Sync::Fault(write))
        );
    }
}

#[test]
fn accesses_that_cannot_be_emulated() {
    let fault = |esr, ipa, half| {
        Exit::Sync(Sync::Fault(Fault {
            esr,
            ipa,
            offset: 0x678,
            half,
            access: Access::Opaque,
        }))
    };
    let missing = DATA_ABORT | 7;
    assert_eq!(
        abort(missing, UNPROTECTED | 0x5000),
        fault(missing | IL, 0x5000, Half::Unprotected)
    );
    assert_eq!(
        abort(missing, 0x5000),
        fault(missing | IL, 0x5000, Half::Protected)
    );
    // KVM must not emulate what only the realm sees.
    assert_eq!(
        abort(missing | ISV | 3 << 22 | WNR, 0x5000),
        fault(missing | IL | WNR, 0x5000, Half::Protected)
    );
    // It could be read: so it is a write.
    let denied = DATA_ABORT | 0xf;
    assert_eq!(
        abort(denied, UNPROTECTED | 0x5000),
        fault(denied | IL | WNR, 0x5000, Half::Unprotected)
    );
    // That it was a read is said, if it is described.
    let Exit::Sync(Sync::Fault(read)) = abort(denied | ISV, UNPROTECTED) else {
        panic!();
    };
    assert_eq!((read.esr & WNR, read.access), (0, Access::Read));
}

#[test]
fn instruction_fetches() {
    let esr = INSTRUCTION_ABORT | 7;
    let fault = Fault {
        esr: esr | IL,
        ipa: 0x7000,
        offset: 0,
        half: Half::Protected,
        access: Access::Execute,
    };
    assert_eq!(abort(esr | ISV, 0x7000), Exit::Sync(Sync::Fault(fault)));
    assert_eq!(
        abort(esr, UNPROTECTED | 0x7000),
        Exit::Malformed(Malformed::Fetch { ipa: 0x7000 })
    );
}

#[test]
fn aborts_outside_of_the_realm() {
    for ipa in [
        1 << BITS,
        1 << BITS | UNPROTECTED | 0x1000,
        0xf_ffff_ffff_f000,
    ] {
        for class in [DATA_ABORT, INSTRUCTION_ABORT] {
            assert_eq!(
                abort(class | ISV | 7, ipa),
                Exit::Malformed(Malformed::Outside { ipa })
            );
        }
    }
}

#[test]
fn aborts_that_no_table_helps() {
    for class in [DATA_ABORT, INSTRUCTION_ABORT] {
        for fsc in [0x10, 0x13, 0x17, 0x18, 0x1b, 0x1f] {
            for (set, told) in [(0, true), (2, false), (3, false)] {
                let esr = class | set << 11 | 1 << 10 | 1 << 9 | fsc;
                let wanted = Sync::ExternalAbort {
                    esr: esr | IL,
                    told,
                };
                // The address does not mean anything.
                assert_eq!(abort(esr | ISV | WNR, u64::MAX), Exit::Sync(wanted));
            }
        }
        for fsc in [0, 0x11, 0x12, 0x19, 0x20, 0x21, 0x28, 0x30, 0x3f] {
            let esr = class | fsc;
            assert_eq!(abort(esr, 0x1000), Exit::Sync(Sync::Unknown { esr }));
        }
    }
}

#[test]
fn system_registers_go_through_register_0() {
    // ICC_SGI1R_EL1, from and to x30; the RMM may tell that register or not.
    let encoding = 3 << 20 | 5 << 17 | 12 << 10 | 11 << 1;
    for register in [0, 30, 31] {
        let esr = SYSREG | IL | encoding | register << 5;
        let written = Sysreg {
            esr: SYSREG | IL | encoding,
            written: Some(0x77),
        };
        assert_eq!(abort(esr, 0), Exit::Sync(Sync::Sysreg(written)));
        let read = Sysreg {
            esr: SYSREG | IL | encoding | 1,
            written: None,
        };
        assert_eq!(abort(esr | 1, 0), Exit::Sync(Sync::Sysreg(read)));
    }
}

#[test]
fn waits_have_no_limit_that_kvm_would_look_for() {
    for ti in 0..4 {
        // RN and RV of WFIT and WFET as well.
        let esr = WFX | 1 << 2 | 5 << 5 | ti;
        let wanted = WFX | IL | ti & 1;
        assert_eq!(abort(esr, 0), Exit::Sync(Sync::Wait { esr: wanted }));
    }
}

#[test]
fn classes_that_the_rmm_does_not_report() {
    for class in [0, 0x07, 0x16, 0x17, 0x21, 0x25, 0x3c, 0x3f] {
        let esr = class << 26 | 0x1234;
        assert_eq!(abort(esr, 0x1000), Exit::Sync(Sync::Unknown { esr }));
    }
}

#[test]
fn psci_calls() {
    let call = |function: u64, mpidr| exit(&[(REASON, 3), (GPRS, function), (GPRS + 8, mpidr)]);
    // The upper half of x0 is not part of the function.
    for size in [0, 1 << 30, 0xf00d << 32] {
        assert_eq!(call(0x8400_0001 | size, 0), Exit::Psci(Psci::Suspend));
        assert_eq!(call(0x8400_0002 | size, 0), Exit::Psci(Psci::Off));
        assert_eq!(call(0x8400_0008 | size, 0), Exit::Psci(Psci::SystemOff));
        assert_eq!(call(0x8400_0009 | size, 0), Exit::Psci(Psci::SystemReset));
        assert_eq!(call(0x8400_0012 | size, 0), Exit::Psci(Psci::SystemReset));
        for (function, question) in [(3, Question::TurnOn), (4, Question::State)] {
            let Exit::Psci(Psci::Ask(call)) = call(0x8400_0000 | function | size, 0x305) else {
                panic!();
            };
            assert_eq!(call.question, question);
            assert_eq!(call.target(), 0x305);
        }
    }
    for function in [
        0,
        0x8400_0000,
        0x8400_0005,
        0x8400_000a,
        0x0400_0003,
        0xc600_0003,
    ] {
        assert_eq!(
            call(u64::from(function), 0),
            Exit::Psci(Psci::Unknown { function })
        );
    }
}

#[test]
fn a_target_is_named_as_it_was_created() {
    // MPIDRs as the RMM numbers them, and what it ignores: MT, U, RES1, upper bits of Aff0.
    for mpidr in [
        0x0000_0000,
        0x0000_000f,
        0x0000_0100,
        0x0001_0000,
        1 << 32,
        0xff_00ff_ff0f,
    ] {
        for ignored in [0, 0xffff_ff00_ff00_00f0] {
            let words = [
                (REASON, 3),
                (GPRS, 0xc400_0003),
                (GPRS + 8, mpidr | ignored),
            ];
            let Exit::Psci(Psci::Ask(call)) = exit(&words) else {
                panic!();
            };
            assert_eq!(call.target(), mpidr);
        }
    }
}

#[test]
fn ripas_changes() {
    let change = |base, top, value| {
        exit(&[
            (REASON, 4),
            (RIPAS_BASE, base),
            (RIPAS_TOP, top),
            (RIPAS_VALUE, value),
        ])
    };
    for (value, ripas) in [(0, Ripas::Empty), (1, Ripas::Ram), (0xab01, Ripas::Ram)] {
        for (base, top) in [(0, 0x1000), (0x5000, 0x20_0000), (0, UNPROTECTED)] {
            let Exit::Ripas(change) = change(base, top, value) else {
                panic!();
            };
            assert_eq!((change.range.base(), change.range.top()), (base, top));
            assert_eq!(change.ripas, ripas);
        }
    }
    for (base, top, value) in [
        (0, 0, 1),
        (0x2000, 0x1000, 1),
        (0x800, 0x1000, 1),
        (0, 0x1001, 1),
        (0, UNPROTECTED + 0x1000, 1),
        (UNPROTECTED, UNPROTECTED + 0x1000, 0),
        (0xffff_ffff_ffff_f000, 0, 1),
        (0, 0xffff_ffff_ffff_f000, 1),
        (0, 0x1000, 2),
        (0, 0x1000, 3),
        (0, 0x1000, 0xff),
    ] {
        let value = u8::try_from(value).unwrap();
        assert_eq!(
            change(base, top, u64::from(value)),
            Exit::Malformed(Malformed::Ripas { base, top, value })
        );
    }
}

#[test]
fn host_calls() {
    let call = |x0, imm| exit(&[(REASON, 5), (IMM, imm), (GPRS, x0)]);
    let wanted = HostCall {
        imm: 0x1234,
        is_psci: false,
    };
    for x0 in [
        0,
        0x8600_0000,
        0x8400_0020,
        0x8400_00ff,
        0x8500_0001,
        0x0400_0001,
        0xc600_0003,
    ] {
        assert_eq!(call(x0, 0xf_1234), Exit::HostCall(wanted), "{x0:#x}");
    }
    assert_eq!(wanted.esr(), 0x16 << 26 | 1 << 25 | 0x1234);
    let psci = HostCall {
        imm: 0,
        is_psci: true,
    };
    for x0 in [
        0x8400_0000,
        0xc400_0003,
        0x8400_001f,
        0x8401_0003,
        0x12_c400_0004,
    ] {
        assert_eq!(call(x0, 0), Exit::HostCall(psci), "{x0:#x}");
    }
}

#[test]
fn kvm_gets_the_registers_that_it_looks_at() {
    let mut words: Vec<_> = (0..31).map(|n| (GPRS + 8 * n, 0x100 + n as u64)).collect();
    let taken = |words: &[(usize, u64)]| {
        let mut gprs = [7; 31];
        let page = page(words);
        let exit = decode(SUCCESS, &page, space()).unwrap();
        exit.take_gprs(&page, &mut gprs);
        gprs
    };
    words.push((REASON, 1));
    assert_eq!(taken(&words), [7; 31]);

    words.push((REASON, 5));
    let all: [u64; 31] = std::array::from_fn(|n| 0x100 + n as u64);
    assert_eq!(taken(&words), all);
    words.push((GPRS, 0x8400_0003));
    let mut refused = all;
    refused[..4].copy_from_slice(&[u64::MAX, 0, 0, 0]);
    assert_eq!(taken(&words), refused);

    words.push((REASON, 3));
    let mut psci = [7; 31];
    psci[..4].copy_from_slice(&[0x8400_0003, 0x101, 0x102, 0x103]);
    assert_eq!(taken(&words), psci);

    words.push((REASON, 0));
    words.push((HPFAR, UNPROTECTED >> 8));
    let mut value = [7; 31];
    value[0] = 0x8400_0003;
    for (esr, wanted) in [
        (DATA_ABORT | ISV | WNR | 7, value),
        (DATA_ABORT | ISV | 7, [7; 31]),
        (DATA_ABORT | WNR | 7, [7; 31]),
        (SYSREG, value),
        (SYSREG | 1, [7; 31]),
        (WFX, [7; 31]),
    ] {
        words.push((ESR, esr));
        assert_eq!(taken(&words), wanted, "{esr:#x}");
    }
}

/// Words that are rather like those of an RMM than any.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..16u64,
        (0..1u64 << 40).prop_map(|granule| granule << 4),
        (0..1u64 << 28).prop_map(|granule| granule << 12),
        (0..0x40u64, any::<u32>()).prop_map(|(ec, iss)| ec << 26 | u64::from(iss) & 0x3ff_ffff),
        (0..0x20u64).prop_map(|n| 0x8400_0000 | n),
        (0..0x20u64).prop_map(|n| 0xc400_0000 | n),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn whatever_is_reported_is_judged(
        x0 in prop_oneof![4 => Just(0), 1 => word()],
        bits in 32..53u32,
        values in proptest::collection::vec(word(), 12),
        reason in 0..12u64,
    ) {
        let mut page = Page::new();
        let places = [
            ESR, FAR, HPFAR, GPRS, GPRS + 8, GPRS + 16, GPRS + 24, RIPAS_BASE, RIPAS_TOP,
            RIPAS_VALUE, IMM, GPRS + 30 * 8,
        ];
        for (place, value) in places.into_iter().zip(&values) {
            page.write(place, *value);
        }
        page.write(REASON, reason | values[0] << 8);
        let space = IpaSpace::new(bits).unwrap();
        let half = space.unprotected_bit();
        let decoded = decode(ReturnCode::new(x0), &page, space);
        let mut vcpu = Vcpu::new();
        prop_assert_eq!(vcpu.exited(ReturnCode::new(x0), &page, space), decoded);
        prop_assert_eq!(decoded.is_ok(), x0 & 0xff == 0);
        let Ok(exit) = decoded else {
            return Ok(());
        };
        let mut gprs = [0; 31];
        exit.take_gprs(&page, &mut gprs);
        match exit {
            Exit::Sync(Sync::Fault(fault)) => {
                prop_assert!(fault.ipa < half && fault.ipa % 0x1000 == 0);
                prop_assert!(fault.offset < 0x1000);
                let emulated = matches!(fault.access, Access::Read | Access::Write(_));
                prop_assert_eq!(emulated, fault.esr & ISV != 0);
                prop_assert!(!emulated || fault.half == Half::Unprotected);
                // Neither a register nor an extension.
                prop_assert_eq!(fault.esr & (1 << 21 | 31 << 16), 0);
            }
            Exit::Ripas(change) => {
                prop_assert!(change.range.base() < change.range.top());
                prop_assert!(change.range.top() <= half);
                prop_assert_eq!(vcpu.ripas().unwrap().next(), Some(change.range));
            }
            Exit::Sync(Sync::Sysreg(trap)) => prop_assert_eq!(trap.esr >> 5 & 31, 0),
            Exit::Psci(Psci::Ask(call)) => prop_assert_eq!(call.target() & !0xff_00ff_ff0f, 0),
            _ => {}
        }
    }
}
