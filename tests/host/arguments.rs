// SPDX-License-Identifier: GPL-2.0

//! What the host tells the RMM, bit by bit, and what it makes of the answer: where a wrong bit would
//! still look like a realm that lives.

use crate::alone::alone;
use crate::fake::{rmm, status, success, Page};
use crate::life::Guest;
use crate::machine::Host;
use kvm_arm_rmi::mmu::{self, Step};
use kvm_arm_rmi::realm::table_map::TableMap;
use kvm_arm_rmi::realm::{MissingTable, Tables};
use kvm_arm_rmi::realm::{Refused, State};
use kvm_arm_rmi::rmi::cmd::data::{self, Measure};
use kvm_arm_rmi::rmi::cmd::realm::{self, HashAlgorithm, Params, RdName, RealmGranules, Vmid};
use kvm_arm_rmi::rmi::cmd::rec;
use kvm_arm_rmi::rmi::cmd::rmm::{config_get, config_set, Config};
use kvm_arm_rmi::rmi::cmd::rtt::{self, EntryState};
use kvm_arm_rmi::rmi::cmd::unprot::{Access, MemAttr};
use kvm_arm_rmi::rmi::{
    AddrRange,
    Error,
    Fid,
    IpaSpace,
    Pages,
    PhysAddr,
    Regs,
    ReturnCode,
    RttLevel,
    SharedPage,
    Status, //
};
use rmm::measurement::{Measurement, Rim, RIM};
use rmm::rd::Rd;
use std::cell::RefCell;
use std::rc::Rc;

const PAGE: u64 = 0x1000;
/// A word that the contents of measured pages begin with.
const CONTENTS: u64 = 0x1122_3344_5566_7788;

fn space() -> IpaSpace {
    IpaSpace::new(39).unwrap()
}

fn memory(base: u64, pages: u64) -> AddrRange {
    let top = PhysAddr::new(base + pages * PAGE);
    AddrRange::new(PhysAddr::new(base), top).unwrap()
}

/// The calls of command `fid` that `f` makes of an RMM which does one granule of what is asked.
fn calls_of(fid: Fid, f: impl FnOnce(&dyn Fn(&Regs) -> Regs)) -> Vec<Regs> {
    let seen = RefCell::new(Vec::new());
    f(&|args| {
        assert_eq!(args.x(0), u64::from(fid.raw()));
        seen.borrow_mut().push(*args);
        success(&[args.x(2) + PAGE])
    });
    seen.into_inner()
}

/// The measurement of a realm as it stands.
fn rim(guest: &Guest<'_>) -> Measurement {
    let mut data = guest.host.machine.fake().data(guest.rd().raw());
    Rd::view(&mut data).measurements[RIM]
}

/// The initial measurement is what a deployer computes who knows the pages, their places and what is
/// measured of them, and nothing of how the host does it.
#[test]
fn what_is_populated_is_measured() {
    alone(|| {
        let host = Host::new();
        let guest = Guest::new(&host);
        let mut expected = rim(&guest);
        for (n, measure) in [
            (0, Measure::Contents),
            (1, Measure::Location),
            (2, Measure::Contents),
        ] {
            let (ipa, mut source) = (0x4000 + n * PAGE, host.page());
            source.write(0, CONTENTS + n);
            source.write(4088, !n);
            while let Some(table) = guest.tables().missing(ipa, RttLevel::L3) {
                guest.make_table(table);
            }
            let moved = host.alloc(0).unwrap().delegate(&host.rmi);
            let pa = source.pa();
            data::map_init(&host.rmi, guest.rd(), moved.done.unwrap(), ipa, pa, measure).unwrap();
            host.put(source);

            let mut contents = [0; 512];
            (contents[0], contents[511]) = (CONTENTS + n, !n);
            let (flags, contents) = match measure {
                Measure::Contents => (1, Some(&contents)),
                Measure::Location => (0, None),
            };
            let algorithm = rmm::measurement::Algorithm::Sha256;
            Rim {
                algorithm,
                value: &mut expected,
            }
            .add_data(ipa, flags, contents);
            assert_eq!(rim(&guest), expected, "page {n}");
        }
    });
}

/// The flag, the source and the destination of a page that is populated.
#[test]
fn the_arguments_of_a_populate() {
    for (measure, flags) in [(Measure::Location, 0), (Measure::Contents, 1)] {
        let rd = crate::lending::a_realm();
        let calls = calls_of(Fid::RTT_DATA_MAP_INIT, |answer| {
            let delegates = rmm(|_, args: &Regs| success(&[args.x(2)]));
            let world = crate::world::Shared::new(1);
            let page = world.alloc(0).unwrap().delegate(&delegates).done.unwrap();
            let rmi = rmm(|_, args: &Regs| answer(args));
            let source = PhysAddr::new(0xa000_0000);
            data::map_init(&rmi, rd, page, 0x5000, source, measure).unwrap();
        });
        let [call] = calls[..] else {
            panic!("{calls:?}")
        };
        let arguments = [rd.raw(), 0x8_0000 * PAGE, 0x5000, 0xa000_0000, flags];
        assert_eq!(call.0[1..6], arguments);
    }
}

/// Shared memory is mapped with the attributes that are asked for, and each page with the one of the
/// host's memory that belongs there, however little the RMM does at once.
#[test]
fn the_arguments_of_shared_memory() {
    alone(|| {
        let rd = crate::lending::a_realm();
        let bit = space().unprotected_bit();
        for (access, s2ap) in [(Access::Read, 2), (Access::ReadWrite, 3)] {
            for (attr, mem) in [
                (MemAttr::Normal, 6),
                (MemAttr::NormalNonCacheable, 5),
                (MemAttr::Device, 1),
            ] {
                let calls = calls_of(Fid::RTT_UNPROT_MAP, |answer| {
                    let rmi = rmm(|_, args: &Regs| answer(args));
                    let tables = Tables {
                        set: &TableMap::new().unwrap(),
                        start: RttLevel::L3,
                    };
                    let range = space().unprotected(0x8000, 0xc000).unwrap();
                    let memory = memory(0x9000_0000, 4);
                    let (level, how) = (RttLevel::L3, (attr, access));
                    let step = mmu::map_unprotected(&rmi, rd, &tables, range, memory, level, how);
                    assert_eq!(step, Step::Done);
                });
                assert_eq!(calls.len(), 4);
                for (n, call) in (0..).zip(calls) {
                    let flags = 1 | 1 << 2 | mem << 16 | s2ap << 19;
                    let source = 0x9000_0000 + n * PAGE | (4 - n) << 2 | 1 << 63;
                    let arguments = [
                        rd.raw(),
                        bit + 0x8000 + n * PAGE,
                        bit + 0xc000,
                        flags,
                        source,
                    ];
                    assert_eq!(call.0[1..6], arguments, "call {n}");
                }
            }
        }
    });
}

/// A page of parameters that a test can look into.
#[derive(Clone)]
struct Seen(Rc<RefCell<Page>>);

impl SharedPage for Seen {
    fn pa(&self) -> PhysAddr {
        PhysAddr::new(0xb000_0000)
    }
    fn write(&mut self, offset: usize, value: u64) {
        self.0.borrow_mut().write(offset, value);
    }
    fn read(&self, offset: usize) -> u64 {
        self.0.borrow().read(offset)
    }
}

/// `RmiRealmParams`, word by word: each is where it belongs, and the rest is zero.
#[test]
fn the_parameters_of_a_realm() {
    let params = |lpa2, sve_vq, pmu_counters| Params {
        s2sz: 41,
        lpa2,
        sve_vq,
        breakpoints: 6,
        watchpoints: 4,
        pmu_counters,
        hash: HashAlgorithm::Sha512,
        rpv: [11, 12, 13, 14, 15, 16, 17, 18],
        rtt_level_start: -1,
    };
    for (given, flags, vl, counters) in [
        (params(false, None, None), 0, 0, 0),
        (params(true, None, None), 1, 0, 0),
        (params(false, Some(1), None), 2, 0, 0),
        (params(false, Some(16), None), 2, 15, 0),
        (params(false, None, Some(7)), 4, 0, 7),
        (params(true, Some(4), Some(31)), 7, 3, 31),
    ] {
        let world = crate::world::Shared::new(5);
        let rmi = rmm(|fid, args: &Regs| match fid {
            Fid::REALM_CREATE => success(&[]),
            _ => success(&[args.x(2)]),
        });
        let alloc = |order| world.alloc(order).unwrap().delegate(&rmi).done.unwrap();
        let (roots, rd) = (alloc(2), alloc(0));
        let base = roots.range().base().raw();
        let granules = RealmGranules {
            rd,
            roots,
            vmid: Vmid::new(0x1234),
        };
        let mut page = Seen(Rc::new(RefCell::new(Page::new())));
        let list = &mut Page::new();
        assert!(realm::create(&rmi, granules, &given, &mut page, &world, list).is_ok());
        let mut expected = [0; 512];
        let start = [flags, 41, vl, 5, 3, counters, 1];
        expected[..7].copy_from_slice(&start);
        expected[0x80..0x88].copy_from_slice(&[11, 12, 13, 14, 15, 16, 17, 18]);
        expected[0x100..0x104].copy_from_slice(&[0x1234, base, u64::MAX, 4]);
        assert_eq!(page.0.borrow().0, expected, "{given:?}");
    }
}

/// What RTT_READ_ENTRY says, and above all that what was there is lost.
#[test]
fn entries_are_read() {
    let rd = crate::lending::a_realm();
    for (ripas, destroyed) in [(0, false), (1, false), (2, true), (3, false)] {
        for (state, seen) in [
            (0, EntryState::Unassigned),
            (1, EntryState::Assigned),
            (2, EntryState::Table),
            (3, EntryState::Other(3)),
        ] {
            let rmi = rmm(|_, _| success(&[2, state, 0x8000_0000, ripas]));
            let entry = rtt::read_entry(&rmi, rd, 0, RttLevel::L3).unwrap();
            assert_eq!(entry.level, RttLevel::L2);
            assert_eq!((entry.state, entry.destroyed), (seen, destroyed));
        }
    }
}

/// A realm that the RMM does not activate can only be taken down: nothing is populated any more.
#[test]
fn a_failed_activation_is_the_end() {
    alone(|| {
        let host = Host::new();
        let mut guest = Guest::new(&host);
        host.rmi.conduit().replace(|args, rmm| {
            match args.x(0) == u64::from(Fid::REALM_ACTIVATE.raw()) {
                true => status(Status::ErrorRealm),
                false => rmm(args),
            }
        });
        let refused = Error::Refused(Fid::REALM_ACTIVATE, ReturnCode::new(2));
        let result = guest.realm.activate(&host.rmi);
        assert_eq!(result, Err(Refused::Rmm(refused)));
        assert_eq!(guest.realm.state(), State::Dying);
        let again = guest.realm.activate(&host.rmi);
        assert_eq!(again, Err(Refused::State(State::Dying)));
        guest.tear_down();
        host.assert_idle();
    });
}

/// A table that the RMM does not fold is still there, or it would never be destroyed.
#[test]
fn a_refused_fold_leaves_the_table() {
    alone(|| {
        let set = TableMap::new().unwrap();
        let tables = Tables {
            set: &set,
            start: RttLevel::L1,
        };
        let table = MissingTable {
            level: RttLevel::L3,
            ipa: 0,
        };
        assert!(set.reserve(table));
        set.insert(table);
        let rd: RdName = crate::lending::a_realm();
        for code in [0x304, 10, 1] {
            let rmi = rmm(move |_, _| Regs::new(code, &[]));
            assert!(tables.fold(&rmi, rd, table).is_err());
            assert!(set.has(table), "{code:#x}");
        }
        let rmi = rmm(|_, _| success(&[0x9000_0000]));
        let granule = tables.fold(&rmi, rd, table).unwrap();
        assert_eq!(granule.range(), memory(0x9000_0000, 1));
        granule.leak(&rmi);
        assert!(!set.has(table));
    });
}

/// What is beside an unmapped range is still mapped, on both sides.
#[test]
fn an_unmap_takes_its_range_and_nothing_else() {
    alone(|| {
        let host = Host::new();
        let mut guest = Guest::new(&host);
        guest.map(0, 16 * PAGE, 0, RttLevel::L3);
        assert_eq!(guest.unmap(4 * PAGE, 3 * PAGE), 3);
        for n in 0..16 {
            let entry = rtt::read_entry(&host.rmi, guest.rd(), n * PAGE, RttLevel::L3).unwrap();
            let expected = match n {
                4..7 => EntryState::Unassigned,
                _ => EntryState::Assigned,
            };
            assert_eq!(entry.state, expected, "page {n}");
        }
        guest.tear_down();
        host.assert_idle();
    });
}

/// What a REC begins with.
#[test]
fn the_parameters_of_a_rec() {
    let world = crate::world::Shared::new(1);
    let rmi = rmm(|_, args: &Regs| success(&[args.x(2)]));
    let granule = world.alloc(0).unwrap().delegate(&rmi).done.unwrap();
    let params = rec::Params {
        runnable: true,
        mpidr: 0x10203,
        pc: 0x8000,
        gprs: [1, 2, 3, 4, 5, 6, 7, 8],
    };
    let (page, list) = (&mut Page::new(), &mut Page::new());
    let rd = crate::lending::a_realm();
    let _rec = rec::create(&rmi, rd, granule, &params, page, &world, list).unwrap();
    let mut expected = [0; 512];
    (expected[0], expected[0x100 / 8], expected[0x200 / 8]) = (1, 0x10203, 0x8000);
    expected[0x300 / 8..][..8].copy_from_slice(&params.gprs);
    assert_eq!(page.0, expected);
}

/// How an RMM is to be configured; and who does not say how it is, is not believed.
#[test]
fn the_configuration_of_an_rmm() {
    let mut page = Page::new();
    page.0[..2].copy_from_slice(&[9, 9]);
    let config = Config {
        tracking_region_size: 1,
        granule_size: 2,
    };
    config_set(&rmm(|_, _| success(&[])), &mut page, config).unwrap();
    assert_eq!(page.0[..3], [1, 2, 0]);
    assert_eq!(config_get(&rmm(|_, _| success(&[])), &mut page), Ok(config));
    let refused = config_get(&rmm(|_, _| status(Status::ErrorInput)), &mut page);
    assert_eq!(refused.unwrap_err().status(), Some(Status::ErrorInput));
}
