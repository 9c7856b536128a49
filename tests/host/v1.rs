// SPDX-License-Identifier: GPL-2.0

//! RMI 1.0: the same host, on the embedded RMM that speaks it, and on RMMs that say strange things.

use crate::alone::alone;
use crate::entry_seam::Seam;
use crate::fake::{rmm, success, Page};
use crate::life::{calls, give_back, Guest};
use crate::machine::Host;
use ::rmm::rec::Trap;
use ::rmm::rmi::Dialect;
use kvm_arm_rmi::exit::{Exit, Half, Sync};
use kvm_arm_rmi::mmu::{self, Step};
use kvm_arm_rmi::rmi::cmd::data::{self, Pieces};
use kvm_arm_rmi::rmi::cmd::rmm::Version;
use kvm_arm_rmi::rmi::cmd::unprot::{Access as S2Access, MemAttr};
use kvm_arm_rmi::rmi::{
    check_ram,
    check_unused_ram,
    negotiate,
    AddrRange,
    Decline,
    Error,
    Fid,
    Pages,
    PhysAddr,
    Regs,
    ReturnCode,
    RttLevel,
    Status, //
};
use std::cell::RefCell;
use std::rc::Rc;

const PAGE: u64 = 0x1000;
const MIB: u64 = 0x10_0000;

fn host() -> Host {
    Host::speaking(Dialect::V1)
}

/// Negotiates with an RMM that answers RMI_VERSION by `answer`, and has the features of TF-RMM.
fn agree(answer: impl Fn(u64) -> Regs) -> Result<Version, Decline> {
    let rmi = rmm(move |fid, args| match fid {
        Fid::VERSION => answer(args.x(1)),
        Fid::FEATURES if args.x(1) == 0 => success(&[0x28f_0031_7f34]),
        Fid::FEATURES => success(&[0x142a9]),
        Fid::RMM_CONFIG_SET | Fid::RMM_ACTIVATE => success(&[]),
        other => panic!("{other}"),
    });
    negotiate(&rmi, &mut Page::new()).map(|agreed| agreed.version)
}

#[test]
fn the_highest_version_that_both_speak() {
    let (v1, v2) = (0x1_0000, 0x2_0000);
    let only_v1 = |wanted| Regs::new((wanted != v1).into(), &[v1, v1]);
    assert_eq!(agree(only_v1), Ok(Version::V1_0));
    let later_v1 = |wanted| Regs::new((wanted != v1).into(), &[v1, v1 | 1]);
    assert_eq!(agree(later_v1), Ok(Version::V1_0));
    let both = |wanted: u64| Regs::new((wanted != v1 && wanted != v2).into(), &[v1, v2]);
    assert_eq!(agree(both), Ok(Version::OURS));
    // It names 1.0 and then does not want to know of it, or says that it speaks something else.
    let shy = |_| Regs::new(1, &[v1, v1]);
    assert!(matches!(agree(shy), Err(Decline::Version(_))));
    let liar = |wanted| match wanted {
        0x1_0000 => success(&[v2, v2]),
        _ => Regs::new(1, &[v1, v1]),
    };
    assert!(matches!(agree(liar), Err(Decline::Version(_))));
    // It agrees on 2.0 and names 1.0 alone.
    assert!(matches!(
        agree(|_| success(&[v1, v1])),
        Err(Decline::Version(_))
    ));
    let declined = agree(|_| Regs::new(1, &[0x3_0000, 0x3_0000])).unwrap_err();
    assert_eq!(
        declined.to_string(),
        "the RMM speaks RMI 3.0 to 3.0, this kernel 1.0 and 2.0"
    );
}

#[test]
fn one_feature_register_says_everything() {
    alone(|| {
        let host = Host::new();
        host.machine.rmm.speak(Dialect::V1);
        let mut page = host.page();
        let agreed = negotiate(&host.rmi, &mut page).unwrap();
        host.put(page);
        assert!(agreed.was_active);
        let features = agreed.features;
        assert_eq!((features.s2sz(), features.lpa2()), (52, true));
        assert_eq!((features.breakpoints(), features.watchpoints()), (6, 4));
        assert!(features.granule(12) && !features.granule(14) && !features.granule(16));
        assert!(features.sha256() && features.sha512() && !features.sha384());
        assert_eq!(features.max_recs_order(), 10);
        // The fields that 2.0 has where 1.0 has others are empty.
        assert_eq!(features.regs()[0] >> 32, 0);
        assert_eq!(calls(&host, Fid::FEATURES), 1);
        assert_eq!(calls(&host, Fid::RMM_ACTIVATE), 0);
        // What can be delegated nobody tells.
        let ram = AddrRange::new(PhysAddr::new(0x4000_0000), PhysAddr::new(0x8000_0000));
        check_ram(&host.rmi, ram.unwrap()).unwrap();
        assert_eq!(calls(&host, Fid::GRANULE_TRACKING_GET), 0);
        host.assert_idle();
    });
}

/// From now on the granules are written down that the RMM is given, and that it is to give back. It refuses
/// one of that.
fn watch_granules(host: &Host, refused: Option<(Fid, u64)>) -> Rc<RefCell<Vec<(Fid, u64)>>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = seen.clone();
    let instead = move |args: &Regs, rmm: &dyn Fn(&Regs) -> Regs| {
        let asked = (Fid::from_raw(args.x(0) as u32), args.x(1));
        told.borrow_mut().push(asked);
        match Some(asked) == refused {
            true => Regs::new(1, &[]),
            false => rmm(args),
        }
    };
    host.rmi.conduit().replace(instead);
    seen
}

const DELEGATE: Fid = Fid::GRANULE_DELEGATE;
const UNDELEGATE: Fid = Fid::GRANULE_UNDELEGATE;

/// Where nobody uses memory yet its first granule is tried, then its last one; nothing else is, and nothing
/// stays with the RMM if it refuses either.
#[test]
fn unused_memory_is_tried_at_both_ends() {
    alone(|| {
        let host = host();
        for order in [0, 1, 6] {
            let unused = host.alloc(order).unwrap();
            let free = unused.range();
            let ends = [free.base().raw(), free.top().raw() - PAGE];
            let all = ends.map(|at| [(DELEGATE, at), (UNDELEGATE, at)]).concat();
            let seen = watch_granules(&host, None);
            check_unused_ram(&host.rmi, free).unwrap();
            assert_eq!(*seen.borrow(), all);
            for at in ends {
                let refused = (DELEGATE, at);
                let seen = watch_granules(&host, Some(refused));
                let declined = check_unused_ram(&host.rmi, free).unwrap_err();
                let why = Decline::Command(Error::Refused(DELEGATE, ReturnCode::new(1)));
                assert_eq!(declined, why);
                let last = all.iter().position(|asked| *asked == refused);
                assert_eq!(*seen.borrow(), all[..=last.unwrap()]);
            }
            assert_eq!(host.machine.fake().realm_granules(), 0);
            host.free(unused);
        }
        host.assert_idle();
    });
}

/// What it does not give back is known to be lost, though nobody uses it: another kernel might.
#[test]
fn unused_memory_that_is_kept() {
    alone(|| {
        for last in [false, true] {
            let host = host();
            let unused = host.alloc(6).unwrap().into_range();
            let kept = if last { unused.last() } else { unused.first() };
            let seen = watch_granules(&host, Some((UNDELEGATE, kept.base().raw())));
            let declined = check_unused_ram(&host.rmi, unused).unwrap_err();
            let why = Decline::Command(Error::Refused(UNDELEGATE, ReturnCode::new(1)));
            assert_eq!(declined, why);
            assert_eq!(seen.borrow().len(), if last { 4 } else { 2 });
            assert_eq!(host.machine.fake().in_realm_space(), [kept.base().raw()]);
            assert_eq!(host.counts(), (1, 1));
        }
    });
}

#[test]
fn a_realm_lives_and_leaves_nothing() {
    alone(|| {
        let host = host();
        let mut guest = Guest::new(&host);
        for n in 0..5 {
            guest.populate(0x1000 + n * PAGE);
        }
        guest.init_ripas(0, 16 * MIB);
        // What is RAM is not measured again.
        let told = calls(&host, Fid::RTT_INIT_RIPAS);
        assert!(told > 0);
        guest.init_ripas(0, 16 * MIB);
        assert_eq!(calls(&host, Fid::RTT_INIT_RIPAS), told);
        guest.add_rec();
        guest.add_rec();
        guest.realm.activate(&host.rmi).unwrap();
        // A window of 64 KiB is 16 commands, and what is more than the RMM is asked at once, several steps.
        guest.map(2 * MIB, 64 * 1024, 4, RttLevel::L3);
        assert_eq!(calls(&host, Fid::DATA_CREATE_UNKNOWN), 16);
        guest.map(4 * MIB, MIB, 8, RttLevel::L3);
        assert_eq!(guest.unmap(2 * MIB + 8 * PAGE, 16 * PAGE), 8);
        assert_eq!(guest.unmap(2 * MIB, MIB), 8);
        assert_eq!(guest.unmap(4 * MIB + PAGE, 254 * PAGE), 254);
        guest.tear_down();
        host.assert_idle();
        // Holes, which RMI 1.0 says by an error, and nothing else.
        let failed = host.failed();
        let names: Vec<_> = failed.iter().map(|(name, _)| name.as_str()).collect();
        let holes = [
            Fid::DATA_DESTROY.to_string(),
            Fid::RTT_UNMAP_UNPROTECTED.to_string(),
        ];
        let version = Fid::VERSION.to_string();
        for name in names {
            assert!(
                holes.iter().any(|hole| hole == name) || name == version,
                "{name}"
            );
        }
    });
}

/// Blocks are for RMI 2.0: the RMM is not even asked.
#[test]
fn a_block_is_refused_and_its_pages_are_not() {
    alone(|| {
        let host = host();
        let mut guest = Guest::new(&host);
        let mut list = guest.list.take().unwrap();
        let mut pieces = Pieces::new();
        pieces.push(guest.delegated(9)).unwrap();
        let range = guest.range(0, 2 * MIB);
        guest.list = Some(host.page());
        guest.map(4 * MIB, PAGE, 0, RttLevel::L3);
        let (rmi, rd) = (&host.rmi, guest.rd());
        let refused = data::map(rmi, rd, range, &mut pieces, RttLevel::L2, &mut list, |_| {});
        assert_eq!(refused.unwrap_err().status(), Some(Status::ErrorInput));
        assert_eq!(calls(&host, Fid::DATA_CREATE_UNKNOWN), 1);
        while let Some(table) = guest.tables().missing(0, RttLevel::L3) {
            guest.make_table(table);
        }
        let done = data::map(rmi, rd, range, &mut pieces, RttLevel::L3, &mut list, |_| {}).unwrap();
        assert_eq!((done, pieces.bytes()), (64 * PAGE, 448 * PAGE));
        // Something is there: what comes before it is told first.
        pieces = {
            give_back(&host, pieces.pop().unwrap());
            Pieces::new()
        };
        pieces.push(guest.delegated(1)).unwrap();
        let behind = guest.range(63 * PAGE, 2 * PAGE);
        let refused = data::map(
            rmi,
            rd,
            behind,
            &mut pieces,
            RttLevel::L3,
            &mut list,
            |_| {},
        );
        assert_eq!(refused.unwrap_err().status(), Some(Status::ErrorRtt));
        let last = guest.range(511 * PAGE, 2 * PAGE);
        let done = data::map(rmi, rd, last, &mut pieces, RttLevel::L3, &mut list, |_| {});
        assert_eq!((done, pieces.bytes()), (Ok(512 * PAGE), PAGE));
        give_back(&host, pieces.pop().unwrap());
        host.put(list);
        guest.tear_down();
        host.assert_idle();
    });
}

#[test]
fn shared_memory_by_pages_and_blocks() {
    alone(|| {
        let host = host();
        let guest = Guest::new(&host);
        let all = guest.space.all_unprotected().unwrap();
        for (base, size, level, access) in [
            (0, 16 * PAGE, RttLevel::L3, S2Access::ReadWrite),
            (PAGE << 5, PAGE, RttLevel::L3, S2Access::Read),
            (2 * MIB, 4 * MIB, RttLevel::L2, S2Access::ReadWrite),
        ] {
            let memory = PhysAddr::new(0x4020_0000);
            let memory = AddrRange::new(memory, PhysAddr::new(0x4020_0000 + size)).unwrap();
            let range = guest.space.unprotected(base, base + size).unwrap();
            let how = (MemAttr::Normal, access);
            loop {
                let (rmi, rd, tables) = (&host.rmi, guest.rd(), guest.tables());
                match mmu::map_unprotected(rmi, rd, &tables, range, memory, level, how) {
                    Step::Done => break,
                    Step::NeedTable(_, table) => guest.make_table(table),
                    other => panic!("{other:?}"),
                }
            }
        }
        // Granules wherever they are, in the table that is there.
        let (mut list, apart) = (
            Page::new(),
            [9, 7, 8].map(|n| PhysAddr::new(0x4020_0000 + n * PAGE)),
        );
        let range = guest.space.unprotected(PAGE << 6, 67 * PAGE).unwrap();
        let how = (MemAttr::Normal, S2Access::ReadWrite);
        let (rmi, rd, tables) = (&host.rmi, guest.rd(), guest.tables());
        let done = mmu::map_unprotected_granules(rmi, rd, &tables, range, &apart, how, &mut list);
        assert!(matches!(done, Step::Done));
        let entry = |ipa: u64| {
            let args = [guest.rd().raw(), 1 << 38 | ipa, 3];
            let regs = host.machine.call(Fid::RTT_READ_ENTRY, &args);
            [regs.x(1), regs.x(2), regs.x(3) & 0xff]
        };
        assert_eq!(entry(3 * PAGE), [3, 1, 6 << 2 | 3 << 6]);
        assert_eq!(entry(PAGE << 5), [3, 1, 6 << 2 | 1 << 6]);
        for (at, granule) in [64, 65, 66].map(|n| n * PAGE).into_iter().zip(apart) {
            let args = [guest.rd().raw(), 1 << 38 | at, 3];
            let regs = host.machine.call(Fid::RTT_READ_ENTRY, &args);
            assert_eq!(regs.x(3), granule.raw() | 6 << 2 | 3 << 6);
        }
        assert_eq!(entry(3 * MIB & !0x1f_ffff), [2, 1, 6 << 2 | 3 << 6]);
        // A page of a block takes the block with it, and holes are passed over.
        let mut gone = Vec::new();
        for (base, size) in [
            (2 * MIB + 7 * PAGE, PAGE),
            (3 * PAGE, PAGE),
            (0, 8 * MIB),
            (0, 1 << 32),
        ] {
            let mut left = guest.space.unprotected(base, base + size);
            while let Some(range) = left {
                let (rmi, rd, tables) = (&host.rmi, guest.rd(), guest.tables());
                let done = mmu::unmap_unprotected(rmi, rd, &tables, range, all).unwrap();
                assert!(done.contains(&range.base()));
                left = range.from(done.end);
                gone.push(done);
            }
        }
        assert_eq!(gone[0], 1 << 38 | 2 * MIB..1 << 38 | 4 * MIB);
        for at in [0, 3 * PAGE, PAGE << 5, 66 * PAGE, 2 * MIB, 4 * MIB] {
            assert_eq!(entry(at & !0xfff)[1], 0, "{at:#x}");
        }
        guest.tear_down();
        host.assert_idle();
    });
}

#[test]
fn a_rec_is_made_of_17_granules_at_once() {
    alone(|| {
        let host = host();
        let mut guest = Guest::new(&host);
        let before = host.counts().0;
        guest.add_rec();
        assert_eq!(host.counts().0, before + 17);
        assert_eq!(calls(&host, Fid::OP_MEM_DONATE), 0);
        // One that the RMM refuses has taken nothing.
        let refused = guest.try_rec(7).unwrap_err();
        assert_eq!(refused.status(), Some(Status::ErrorInput));
        assert_eq!(host.counts(), (before + 17, 0));
        // There is no memory for what it needs besides, at all and for its second half. The granule of the
        // REC and the page are the first two allocations.
        for there in [None, Some(3)] {
            let from = host.allocations();
            let lacks = (2..100).filter(|n| Some(*n) != there);
            host.fail(lacks.map(|n| from + n));
            assert_eq!(guest.try_rec(1), Err(Error::NoMemory(Fid::REC_CREATE)));
            host.fail([]);
            assert_eq!(host.counts(), (before + 17, 0));
        }
        // In pieces it is as good.
        let from = host.allocations() + 2;
        host.fail([from, from + 2, from + 3]);
        guest.add_rec();
        host.fail([]);
        assert_eq!(host.counts().0, before + 34);
        guest.tear_down();
        host.assert_idle();
    });
}

#[test]
fn a_vcpu_runs_and_a_device_is_emulated() {
    alone(|| {
        let host = host();
        let mut seam = Seam::new(&host, 2);
        let device = 1 << 38 | 0x0900_0000u64;
        for write in [1 << 6, 0] {
            seam.then(move |ctx| {
                ctx.gprs[5] = 0x5566;
                Trap::Sync {
                    esr: 0x24 << 26 | 1 << 25 | 1 << 24 | 1 << 22 | 5 << 16 | 7 | write,
                    far: device | 0x10,
                    hpfar: device >> 8,
                }
            });
            let Exit::Sync(Sync::Fault(fault)) = seam.enter(0) else {
                panic!("no fault");
            };
            assert_eq!(fault.half, Half::Unprotected);
            if write != 0 {
                assert_eq!(seam.cpus[0].gprs[0], 0x5566);
            }
            seam.cpus[0].gprs[0] = 0x77;
            seam.cpus[0].advanced = true;
            let seen = seam.look(0).gprs[5];
            assert_eq!(seen, if write == 0 { 0x77 } else { 0x5566 });
        }
        seam.turn_on(1, 0x3000);
        assert_eq!(seam.look(1).pc, 0x3000);
        end(seam);
    });
}

#[test]
fn a_realm_changes_what_it_takes_its_memory_for() {
    alone(|| {
        let host = host();
        let mut seam = Seam::new(&host, 1);
        let (base, top) = (0x20_0000u64, 0x30_0000u64);
        seam.smc(&[0xc400_0197, base, top, 0, 0]);
        assert!(matches!(seam.enter(0), Exit::Ripas(_)));
        let range = seam.guest.range(base, top - base);
        let rec = seam.guest.recs[0].name();
        loop {
            let (rmi, rd, tables) = (&host.rmi, seam.guest.rd(), seam.guest.tables());
            match mmu::set_ripas(rmi, rd, rec, &tables, range) {
                Step::Done => break,
                Step::NeedTable(_, table) => seam.guest.make_table(table),
                other => panic!("{other:?}"),
            }
        }
        seam.cpus[0].vcpu.ripas().unwrap().advance(top).unwrap();
        assert_eq!(seam.look(0).gprs[..3], [0, top, 0]);
        end(seam);
    });
}

/// Takes everything down; nothing is left.
fn end(seam: Seam<'_>) {
    let host = seam.guest.host;
    assert_eq!((seam.refused, host.machine.fake().cpu.unplayed()), (0, 0));
    for cpu in seam.cpus {
        host.put(cpu.page);
    }
    seam.guest.tear_down();
    host.assert_idle();
}
