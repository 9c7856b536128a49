// SPDX-License-Identifier: GPL-2.0

//! Round trips of every class of exit on the embedded RMM: what a realm does, what KVM has to do
//! about it, and what the realm sees of that after the next entry. The RMM refuses no entry that
//! the test does not provoke.

use crate::alone::alone;
use crate::entry_seam::Seam;
use crate::machine::Host;
use kvm_arm_rmi::exit::{Access, Exit, Fault, Half, HostCall, Malformed, Ripas, Sync, Sysreg};
use kvm_arm_rmi::mmu::{self, Step};
use kvm_arm_rmi::rec::entry::Unready;
use kvm_arm_rmi::rec::{Misplaced, Owed};
use kvm_arm_rmi::rmi::{Fid, ReturnCode, RttLevel, SharedPage};
use proptest::prelude::*;
use rmm::rec::{Context, Trap};

const UNPROTECTED: u64 = 1 << 38;
/// Where a device of the VMM's is.
const DEVICE: u64 = 0x0900_0000;
/// The page of the realm's that is there, where its code and its data are.
const MEMORY: u64 = 0x1000;

const DATA_ABORT: u64 = 0x24 << 26;
const IL: u64 = 1 << 25;
const ISV: u64 = 1 << 24;
const SSE: u64 = 1 << 21;
const SF: u64 = 1 << 15;
const WNR: u64 = 1 << 6;
const MISSING: u64 = 7;
const SGI1R: u64 = 0x18 << 26 | IL | 3 << 20 | 5 << 17 | 12 << 10 | 11 << 1;
const PMR_READ: u64 = 0x18 << 26 | IL | 3 << 20 | 4 << 10 | 6 << 1 | 1;

const IPA_STATE_SET: u64 = 0xc400_0197;
const HOST_CALL: u64 = 0xc400_0199;

fn trap(esr: u64) -> Trap {
    Trap::Sync {
        esr,
        far: 0,
        hpfar: 0,
    }
}

/// The realm accesses `ipa`.
fn access(seam: &Seam<'_>, esr: u64, ipa: u64) {
    seam.then(move |ctx| {
        ctx.gprs[5] = 0x1122_3344_5566_7788;
        ctx.el1.vbar_el1 = 0x8_0000;
        Trap::Sync {
            esr: DATA_ABORT | IL | MISSING | esr,
            far: ipa | 0x123,
            hpfar: ipa >> 8 & !0xf,
        }
    });
}

/// A described access of `1 << size` bytes to or from x5.
fn described(size: u64) -> u64 {
    ISV | size << 22 | 5 << 16
}

#[track_caller]
fn fault(exit: Exit) -> Fault {
    match exit {
        Exit::Sync(Sync::Fault(fault)) => fault,
        other => panic!("{other:x?}"),
    }
}

/// PA of the page of the realm's.
fn memory(seam: &Seam<'_>) -> u64 {
    let args = [seam.guest.rd().raw(), MEMORY, 3];
    let regs = seam.guest.host.machine.call(Fid::RTT_READ_ENTRY, &args);
    assert_eq!((regs.x(0), regs.x(1), regs.x(2)), (0, 3, 1));
    regs.x(3) & 0xffff_ffff_f000
}

/// Writes a host call where the realm has it.
fn write_host_call(seam: &Seam<'_>, imm: u64, gprs: &[u64; 31]) {
    let mut page = [0; 512];
    page[0] = imm;
    page[1..32].copy_from_slice(gprs);
    let fake = seam.guest.host.machine.fake();
    fake.realm_write(memory(seam), &page);
}

/// What the realm finds in its host call.
fn read_host_call(seam: &Seam<'_>) -> [u64; 31] {
    let page = seam.guest.host.machine.fake().data(memory(seam));
    page[1..32].try_into().unwrap()
}

#[test]
fn emulated_writes() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        for (size, value) in [
            (0, 0x88),
            (1, 0x7788),
            (2, 0x5566_7788),
            (3, 0x1122_3344_5566_7788),
        ] {
            let pc = seam.look(0).pc;
            access(&seam, described(size) | WNR, UNPROTECTED | DEVICE);
            let wanted = Fault {
                esr: DATA_ABORT | IL | ISV | size << 22 | WNR | MISSING,
                ipa: DEVICE,
                offset: 0x123,
                half: Half::Unprotected,
                access: Access::Write(value),
            };
            assert_eq!(fault(seam.enter(0)), wanted);
            assert_eq!(seam.cpus[0].gprs[0], value);
            seam.refuse(0);
            seam.cpus[0].advanced = true;
            seam.refuse(0);
            let ctx = seam.look(0);
            assert_eq!((ctx.pc, ctx.gprs[5]), (pc + 4, 0x1122_3344_5566_7788));
        }
        seam.end(8);
    });
}

#[test]
fn emulated_reads() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        for (esr, value) in [
            (described(0), 0x91),
            (described(1) | SSE | SF, 0xffff_ffff_ffff_8191),
            (described(3) | SF, 0xf1e1_d1c1_b1a1_8191),
        ] {
            access(&seam, esr, UNPROTECTED | DEVICE);
            assert_eq!(fault(seam.enter(0)).access, Access::Read);
            seam.cpus[0].gprs[0] = 0xf1e1_d1c1_b1a1_8191;
            seam.cpus[0].advanced = true;
            seam.refuse(0);
            assert_eq!(seam.look(0).gprs[5], value);
        }
        seam.end(3);
    });
}

#[test]
fn accesses_that_the_vmm_lets_fail() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        for esr in [described(2), described(2) | WNR, 0] {
            for advanced in [false, true] {
                seam.then(|ctx| {
                    ctx.pc = 0x1000;
                    Trap::Irq
                });
                seam.enter(0);
                access(&seam, esr, UNPROTECTED | DEVICE);
                fault(seam.enter(0));
                seam.cpus[0].external_abort = true;
                seam.cpus[0].advanced = advanced;
                seam.refuse(0);
                let ctx = seam.look(0);
                assert_eq!(ctx.pc, 0x8_0200);
                assert_eq!(ctx.el1.esr_el1 & 0x3f, 0x10);
                assert_eq!(ctx.gprs[5], 0x1122_3344_5566_7788);
            }
        }
        seam.end(6);
    });
}

#[test]
fn accesses_that_nobody_can_emulate() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        access(&seam, WNR, UNPROTECTED | DEVICE);
        assert_eq!(fault(seam.enter(0)).access, Access::Opaque);
        // KVM has advanced the PC all the same: the realm does not notice.
        seam.cpus[0].advanced = true;
        assert_eq!(seam.look(0).pc, 0x1000);
        seam.end(0);
    });
}

#[test]
fn faults_that_the_host_resolves() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        for (ipa, half) in [
            (0x5000, Half::Protected),
            (UNPROTECTED | 0x5000, Half::Unprotected),
        ] {
            access(&seam, described(3), ipa);
            let fault = fault(seam.enter(0));
            assert_eq!((fault.ipa, fault.half), (0x5000, half));
            // Something is mapped, and the realm tries again.
            assert_eq!(seam.look(0).pc, 0x1000);
        }
        // What KVM may want to do about a protected address instead cannot be done.
        access(&seam, described(3) | WNR, 0x5000);
        assert_eq!(fault(seam.enter(0)).access, Access::Opaque);
        seam.cpus[0].advanced = true;
        seam.cpus[0].external_abort = true;
        assert_eq!(seam.look(0).pc, 0x1000);
        // A fetch.
        seam.then(|_| Trap::Sync {
            esr: 0x20 << 26 | IL | MISSING,
            far: 0x5000,
            hpfar: 0x5000 >> 8,
        });
        assert_eq!(fault(seam.enter(0)).access, Access::Execute);
        assert_eq!(seam.look(0).pc, 0x1000);
        seam.end(0);
    });
}

#[test]
fn external_aborts() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        for set in [0, 3 << 11] {
            seam.then(move |_| Trap::Sync {
                esr: DATA_ABORT | IL | set | 0x10,
                far: 0x1000,
                hpfar: u64::MAX,
            });
            let esr = DATA_ABORT | IL | set | 0x10;
            let told = set == 0;
            let wanted = Sync::ExternalAbort { esr, told };
            assert_eq!(seam.enter(0), Exit::Sync(wanted));
            // KVM passes it on; the RMM has done so already where the realm has to know.
            seam.cpus[0].external_abort = true;
            assert_eq!(seam.enter(0), Exit::Irq);
        }
        seam.end(0);
    });
}

#[test]
fn an_interrupt_for_another_cpu_of_the_realm() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        seam.then(|ctx| {
            ctx.gprs[3] = 0x77;
            trap(SGI1R | 3 << 5)
        });
        let wanted = Sysreg {
            esr: SGI1R,
            written: Some(0x77),
        };
        assert_eq!(seam.enter(0), Exit::Sync(Sync::Sysreg(wanted)));
        assert_eq!(seam.cpus[0].gprs[0], 0x77);
        assert_eq!(*seam.cpus[0].vcpu.owed(), Owed::Nothing);
        seam.cpus[0].advanced = true;
        seam.refuse(0);
        let ctx = seam.look(0);
        assert_eq!((ctx.pc, ctx.gprs[3]), (0x1004, 0x77));
        seam.end(1);
    });
}

#[test]
fn a_register_that_kvm_reads_for_the_realm() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        seam.then(|_| trap(PMR_READ | 3 << 5));
        let wanted = Sysreg {
            esr: PMR_READ,
            written: None,
        };
        assert_eq!(seam.enter(0), Exit::Sync(Sync::Sysreg(wanted)));
        seam.cpus[0].gprs[0] = 0xf0;
        seam.cpus[0].advanced = true;
        seam.refuse(0);
        let ctx = seam.look(0);
        assert_eq!((ctx.pc, ctx.gprs[3]), (0x1004, 0xf0));
        // Once.
        seam.then(|ctx| {
            ctx.gprs[3] = 1;
            Trap::Irq
        });
        seam.enter(0);
        assert_eq!(seam.look(0).gprs[3], 1);
        seam.end(1);
    });
}

#[test]
fn waiting() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        for (wfi, wfe) in [(true, false), (false, true), (true, true), (false, false)] {
            seam.cpus[0].trap_wfi = wfi;
            seam.cpus[0].trap_wfe = wfe;
            let pc = seam.look(0).pc;
            seam.then(move |ctx| {
                // TWI and TWE.
                assert_eq!(
                    ctx.el2.hcr_el2 >> 13 & 3,
                    u64::from(wfi) | u64::from(wfe) << 1
                );
                trap(1 << 26 | IL | 0x1f << 20 | u64::from(wfe))
            });
            let esr = 1 << 26 | IL | u64::from(wfe);
            assert_eq!(seam.enter(0), Exit::Sync(Sync::Wait { esr }));
            seam.cpus[0].advanced = true;
            assert_eq!(seam.look(0).pc, pc + 4);
        }
        seam.end(0);
    });
}

#[test]
fn interrupts_and_errors() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        seam.then(|_| Trap::Irq);
        assert_eq!(seam.enter(0), Exit::Irq);
        seam.then(|_| Trap::Fiq);
        assert_eq!(seam.enter(0), Exit::Fiq);
        let esr = 0x2f << 26 | 2 << 10 | 0x11;
        seam.then(move |_| Trap::SError { esr });
        let contained = true;
        assert_eq!(seam.enter(0), Exit::SError { esr, contained });
        // A class that the RMM says nothing of.
        seam.then(|_| trap(0x3c << 26 | 0x1234));
        assert_eq!(seam.enter(0), Exit::Sync(Sync::Unknown { esr: 0 }));
        seam.cpus[0].advanced = true;
        seam.cpus[0].external_abort = true;
        assert_eq!(seam.look(0).pc, 0x1000);
        seam.end(0);
    });
}

#[test]
fn a_host_call_and_its_results() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let args: [u64; 31] = std::array::from_fn(|n| 0x8600_0000 + n as u64);
        write_host_call(&seam, 0x42, &args);
        seam.smc(&[HOST_CALL, MEMORY]);
        let call = HostCall {
            imm: 0x42,
            is_psci: false,
        };
        assert_eq!(seam.enter(0), Exit::HostCall(call));
        assert_eq!(seam.cpus[0].gprs, args);
        seam.refuse(0);
        let results: [u64; 31] = std::array::from_fn(|n| 0xb00 + n as u64);
        seam.cpus[0].gprs = results;
        seam.refuse(0);
        let ctx = seam.look(0);
        assert_eq!((ctx.gprs[0], ctx.pc), (0, 0x1004));
        assert_eq!(read_host_call(&seam), results);
        seam.end(2);
    });
}

#[test]
fn a_host_call_that_is_not_kvms_business() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let mut args = [5; 31];
        // SYSTEM_OFF, to the VMM.
        args[0] = 0x8400_0008;
        write_host_call(&seam, 0, &args);
        seam.smc(&[HOST_CALL, MEMORY]);
        let call = HostCall {
            imm: 0,
            is_psci: true,
        };
        assert_eq!(seam.enter(0), Exit::HostCall(call));
        assert_eq!(seam.look(0).gprs[0], 0);
        let mut results = args;
        results[..4].copy_from_slice(&[u64::MAX, 0, 0, 0]);
        assert_eq!(read_host_call(&seam), results);
        seam.end(0);
    });
}

#[test]
fn results_of_a_host_call_wait_for_memory() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 2);
        seam.turn_on(1, 0x3000);
        seam.smc(&[HOST_CALL, MEMORY]);
        assert!(matches!(seam.enter(0), Exit::HostCall(_)));
        seam.cpus[0].gprs = [0x55; 31];
        // Somebody takes the page out of the realm's memory. The RMM cannot deliver, and says so as if
        // the realm had accessed it.
        assert_eq!(seam.guest.unmap(MEMORY, 0x1000), 1);
        for _ in 0..2 {
            let fault = fault(seam.enter(0));
            assert_eq!((fault.ipa, fault.half), (MEMORY, Half::Protected));
            // The registers of the vCPU are what user space makes of them meanwhile.
            seam.cpus[0].gprs = [0x66; 31];
            seam.cpus[0].external_abort = true;
            seam.refuse(0);
        }
        // Another vCPU takes what is lost for RAM again.
        seam.smc(&[IPA_STATE_SET, MEMORY, MEMORY + 0x1000, 1, 1]);
        assert!(matches!(seam.enter(1), Exit::Ripas(_)));
        let guest = &seam.guest;
        let (rec, tables) = (guest.recs[1].name(), guest.tables());
        let step = mmu::set_ripas(
            &host.rmi,
            guest.rd(),
            rec,
            &tables,
            guest.range(MEMORY, 0x1000),
        );
        assert_eq!(step, Step::Done);
        seam.guest.map(MEMORY, 0x1000, 0, RttLevel::L3);
        // After the call by which it turned the other on, and this one.
        let ctx = seam.look(0);
        assert_eq!((ctx.gprs[0], ctx.pc), (0, 0x1008));
        assert_eq!(read_host_call(&seam), [0x55; 31]);
        seam.end(2);
    });
}

#[test]
fn a_ripas_change_in_parts() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        // Across two tables, of which one is not there yet.
        let (base, top) = (0x18_0000, 0x28_0000);
        for (value, ripas) in [(0, Ripas::Empty), (1, Ripas::Ram)] {
            seam.smc(&[IPA_STATE_SET, base, top, value, 0]);
            let Exit::Ripas(change) = seam.enter(0) else {
                panic!();
            };
            assert_eq!((change.range.base(), change.range.top()), (base, top));
            let mut parts = 0;
            while let Some(rest) = seam.cpus[0].vcpu.ripas().unwrap().next() {
                assert_eq!(seam.try_enter(0), Err(Unready::Ripas));
                assert_eq!(seam.cpus[0].vcpu.ripas().unwrap().ripas(), ripas);
                let part = rest.clamp(rest.base(), rest.base() + 0x3_0000).unwrap();
                let guest = &seam.guest;
                let (rec, tables) = (guest.recs[0].name(), guest.tables());
                let to = match mmu::set_ripas(&host.rmi, guest.rd(), rec, &tables, part) {
                    Step::Done => part.top(),
                    Step::NeedTable(at, table) => {
                        guest.make_table(table);
                        at
                    }
                    other => panic!("{other:?}"),
                };
                let work = seam.cpus[0].vcpu.ripas().unwrap();
                // What the RMM cannot have done.
                for wrong in [rest.base() - 0x1000, rest.base() + 1, top + 0x1000] {
                    assert_eq!(work.advance(wrong), Err(Misplaced(wrong)));
                }
                assert_eq!(work.next(), Some(rest));
                work.advance(to).unwrap();
                parts += 1;
            }
            assert!(parts > 5);
            let work = seam.cpus[0].vcpu.ripas().unwrap();
            assert_eq!(work.advance(top), Err(Misplaced(top)));
            seam.refuse(0);
            let ctx = seam.look(0);
            assert_eq!(ctx.gprs[..3], [0, top, 0]);
            assert_eq!(*seam.cpus[0].vcpu.owed(), Owed::Nothing);
        }
        seam.end(2);
    });
}

/// The RMM reports a change of what is no range: whatever the host does about the realm, an entry is no
/// consent to the change that the REC has asked for.
#[test]
fn a_ripas_change_that_makes_no_sense() {
    alone(|| {
        const REPORTED_BASE: usize = 0xd00;
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        seam.smc(&[IPA_STATE_SET, 0x2000, 0x3000, 1, 1]);
        assert!(matches!(seam.enter(0), Exit::Ripas(_)));
        let cpu = &mut seam.cpus[0];
        cpu.page.write(REPORTED_BASE, 0x2001);
        let success = ReturnCode::new(0);
        let exit = cpu.vcpu.exited(success, &cpu.page, seam.guest.space);
        assert!(matches!(exit, Ok(Exit::Malformed(Malformed::Ripas { .. }))));

        // The realm sees that nothing has changed, and that the host did not want it to.
        let [status, top, response] = seam.look(0).gprs[..3] else {
            unreachable!()
        };
        assert_eq!([status, top, response], [0, 0x2000, 1]);
        seam.end(0);
    });
}

#[test]
fn a_ripas_change_that_the_host_refuses() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let (base, top) = (0x10_0000, 0x10_4000);
        // EMPTY cannot be refused: the realm only sees how far it has come.
        for (value, response) in [(1, 1), (0, 0)] {
            seam.smc(&[IPA_STATE_SET, base, top, value, 0]);
            let Exit::Ripas(change) = seam.enter(0) else {
                panic!();
            };
            let guest = &seam.guest;
            let part = change.range.until(base + 0x1000).unwrap();
            let (rec, tables) = (guest.recs[0].name(), guest.tables());
            let step = mmu::set_ripas(&host.rmi, guest.rd(), rec, &tables, part);
            assert_eq!(step, Step::Done);
            let work = seam.cpus[0].vcpu.ripas().unwrap();
            work.advance(part.top()).unwrap();
            work.reject();
            assert_eq!((work.next(), work.is_rejected()), (None, true));
            seam.refuse(0);
            let ctx = seam.look(0);
            assert_eq!(ctx.gprs[..3], [0, base + 0x1000, response]);
        }
        // There is nothing left to refuse.
        seam.smc(&[IPA_STATE_SET, base, base + 0x1000, 1, 0]);
        seam.enter(0);
        let guest = &seam.guest;
        let part = guest.range(base, 0x1000);
        let (rec, tables) = (guest.recs[0].name(), guest.tables());
        let step = mmu::set_ripas(&host.rmi, guest.rd(), rec, &tables, part);
        assert_eq!(step, Step::Done);
        let work = seam.cpus[0].vcpu.ripas().unwrap();
        work.advance(part.top()).unwrap();
        work.reject();
        assert!(!work.is_rejected());
        assert_eq!(seam.look(0).gprs[..3], [0, base + 0x1000, 0]);
        seam.end(2);
    });
}

/// Something that a realm does, with a number of its own.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Load,
    Store,
    Fail,
    Resolve,
    ReadRegister,
    WriteRegister,
    Wait,
    Call,
    Interrupt,
}

fn deed() -> impl Strategy<Value = Deed> {
    use Deed::*;
    prop_oneof![
        Just(Load),
        Just(Store),
        Just(Fail),
        Just(Resolve),
        Just(ReadRegister),
        Just(WriteRegister),
        Just(Wait),
        Just(Call),
        Just(Interrupt),
    ]
}

/// Does it, as realm and as KVM. Returns what the realm has to see: how far the PC has gone, and x5.
fn perform(seam: &mut Seam<'_>, deed: Deed, ctx: &Context, number: u64) -> (u64, u64) {
    let was = ctx.gprs[5];
    let touched = 0x1122_3344_5566_7788;
    let (pc, x5) = match deed {
        Deed::Load => (4, number),
        Deed::Store | Deed::Wait | Deed::WriteRegister | Deed::Call => (4, was),
        Deed::ReadRegister => (4, number),
        Deed::Fail | Deed::Resolve | Deed::Interrupt => (0, was),
    };
    match deed {
        Deed::Load | Deed::Fail => access(seam, described(3) | SF, UNPROTECTED | DEVICE),
        Deed::Store => access(seam, described(3) | WNR, UNPROTECTED | DEVICE),
        Deed::Resolve => access(seam, described(3) | WNR, 0x5000),
        Deed::ReadRegister => seam.then(|_| trap(PMR_READ | 5 << 5)),
        Deed::WriteRegister => seam.then(|_| trap(SGI1R | 5 << 5)),
        Deed::Wait => seam.then(|_| trap(1 << 26 | IL)),
        Deed::Call => seam.smc(&[HOST_CALL, MEMORY]),
        Deed::Interrupt => {}
    }
    let exit = seam.enter(0);
    let cpu = &mut seam.cpus[0];
    cpu.advanced = !matches!(deed, Deed::Fail | Deed::Resolve | Deed::Interrupt);
    // What cannot end in one goes on.
    cpu.external_abort = !matches!(deed, Deed::Load | Deed::Store);
    match (deed, exit) {
        (Deed::Load | Deed::ReadRegister, _) => cpu.gprs[0] = number,
        (Deed::Call, _) => cpu.gprs = [number; 31],
        (Deed::Store, exit) => assert_eq!(fault(exit).access, Access::Write(touched)),
        _ => {}
    }
    match deed {
        Deed::Store | Deed::Resolve => (pc, touched),
        Deed::Fail => (0x8_0200u64.wrapping_sub(ctx.pc), touched),
        _ => (pc, x5),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn nothing_is_lost_and_nothing_done_twice(
        deeds in proptest::collection::vec((deed(), 0..3usize), 1..40)
    ) {
        alone(move || {
            let host = Host::new();
            let mut seam = Seam::new(&host, 1);
            let mut ctx = seam.look(0);
            let mut call = [0; 31];
            let mut refused = 0;
            for (n, (deed, refusals)) in deeds.into_iter().enumerate() {
                let number = 0xabcd_0000_0000 + n as u64;
                let (pc, x5) = perform(&mut seam, deed, &ctx, number);
                for _ in 0..refusals {
                    seam.refuse(0);
                    refused += 1;
                }
                let before = ctx;
                ctx = seam.look(0);
                assert_eq!(ctx.pc, before.pc.wrapping_add(pc), "{:?}", deed);
                assert_eq!(ctx.gprs[5], x5, "{:?}", deed);
                if let Deed::Call = deed {
                    call = [number; 31];
                }
                assert_eq!(read_host_call(&seam), call);
                // And an entry that nothing is owed for.
                let again = seam.look(0);
                assert_eq!((again.pc, again.gprs), (ctx.pc, ctx.gprs));
            }
            seam.end(refused);
        });
    }
}
