// SPDX-License-Identifier: GPL-2.0

//! Loading: which RMMs we work with, and what we say to the others.

use crate::fake::{incomplete, not_forwarded, rmm, status, success, Page};
use kvm_arm_rmi::rmi::cmd::granule::{Category, Tracking, TrackingInfo};
use kvm_arm_rmi::rmi::{
    check_ram,
    negotiate,
    AddrRange,
    Decline,
    Error,
    Fid,
    Negotiated,
    PhysAddr,
    Regs,
    Status, //
};
use std::cell::RefCell;
use std::ops::Range;

/// How TF-RMM answers a host that does everything right.
fn good(fid: Fid, args: &Regs) -> Regs {
    match fid {
        Fid::VERSION => success(&[0x20000, 0x20000]),
        Fid::FEATURES => success(&[[0x317f34, 0x142a9, 0, 3, 0][args.x(1) as usize]]),
        Fid::RMM_CONFIG_SET | Fid::RMM_CONFIG_GET | Fid::RMM_ACTIVATE => success(&[]),
        Fid::GRANULE_TRACKING_GET => success(&[0, 2, args.x(2)]),
        other => panic!("{other}"),
    }
}

/// Negotiates with an RMM that is good but for one command.
fn but(fid: Fid, mut answer: impl FnMut(&Regs) -> Regs) -> Result<Negotiated, Decline> {
    let rmi = rmm(move |called, args| match called == fid {
        true => answer(args),
        false => good(called, args),
    });
    negotiate(&rmi, &mut Page::new())
}

#[test]
fn a_good_rmm_is_activated() {
    let agreed = negotiate(&rmm(good), &mut Page::new()).unwrap();
    assert_eq!(agreed.version.to_string(), "2.0");
    assert_eq!(agreed.features.s2sz(), 52);
    assert!(!agreed.was_active);
}

#[test]
fn an_active_rmm_is_as_good() {
    let rmi = rmm(|fid, args| match fid {
        Fid::RMM_CONFIG_SET => status(Status::ErrorGlobal),
        Fid::RMM_ACTIVATE => panic!("it is active"),
        _ => good(fid, args),
    });
    assert!(negotiate(&rmi, &mut Page::new()).unwrap().was_active);
}

#[test]
fn an_active_rmm_with_other_granules_is_declined() {
    let mut page = Page::new();
    let rmi = rmm(|fid, args| match fid {
        Fid::RMM_CONFIG_SET => {
            assert_eq!(args.x(1), 0x8000_0000);
            status(Status::ErrorGlobal)
        }
        _ => good(fid, args),
    });
    // The fake RMM does not write its answer, so the page says what the host asked for ...
    assert!(negotiate(&rmi, &mut page).is_ok());
    // ... unless it cannot hold that: this one always reads as 16 KiB granules.
    struct Other(Page);
    impl kvm_arm_rmi::rmi::SharedPage for Other {
        fn pa(&self) -> PhysAddr {
            self.0.pa()
        }
        fn write(&mut self, _: usize, _: u64) {}
        fn read(&self, offset: usize) -> u64 {
            u64::from(offset == 8)
        }
    }
    let declined = negotiate(&rmi, &mut Other(page)).unwrap_err();
    assert!(matches!(declined, Decline::Config(config) if config.granule_size == 1));
}

#[test]
fn no_rmm_is_told_from_a_bad_one() {
    assert_eq!(but(Fid::VERSION, |_| not_forwarded()), Err(Decline::NoRmm));
    let refused = but(Fid::VERSION, |_| status(Status::ErrorGlobal)).unwrap_err();
    assert!(matches!(
        refused,
        Decline::Command(Error::Refused(Fid::VERSION, _))
    ));
}

#[test]
fn other_versions_are_declined_with_their_span() {
    let version_1 = but(Fid::VERSION, |_| Regs::new(1, &[0x10000, 0x10001])).unwrap_err();
    assert!(
        version_1.to_string().contains("RMI 1.0 to 1.1"),
        "{version_1}"
    );
    let version_3 = but(Fid::VERSION, |_| Regs::new(1, &[0x30000, 0x30000])).unwrap_err();
    assert!(matches!(version_3, Decline::Version(_)));
    // It agrees, but names a span without us: zeroes everywhere, or all ones.
    for x in [0, u64::MAX] {
        let liar = but(Fid::VERSION, |_| success(&[x, x])).unwrap_err();
        assert!(matches!(liar, Decline::Version(_)));
    }
    // It has our version and a newer minor.
    assert!(but(Fid::VERSION, |_| success(&[0x20000, 0x20007])).is_ok());
}

#[test]
fn feature_registers_that_cannot_be_are_declined() {
    assert_eq!(
        but(Fid::FEATURES, |_| success(&[0])),
        Err(Decline::GranuleSize)
    );
    let ones = but(Fid::FEATURES, |_| success(&[u64::MAX])).unwrap_err();
    assert!(matches!(ones, Decline::Features(_)));
    let only_64k = but(Fid::FEATURES, |args| {
        success(&[if args.x(1) == 1 { 4 } else { 48 }])
    });
    assert_eq!(only_64k, Err(Decline::GranuleSize));
    let none = but(Fid::FEATURES, |_| not_forwarded()).unwrap_err();
    assert_eq!(none, Decline::Command(Error::NotForwarded(Fid::FEATURES)));
}

#[test]
fn a_refused_configuration_or_activation_is_declined() {
    for fid in [Fid::RMM_CONFIG_SET, Fid::RMM_ACTIVATE] {
        let refused = but(fid, |_| status(Status::ErrorInput)).unwrap_err();
        assert!(matches!(refused, Decline::Command(Error::Refused(of, _)) if of == fid));
        let unknown = but(fid, |_| Regs::new(0x77, &[])).unwrap_err();
        assert!(unknown.to_string().contains("Unknown(119)"), "{unknown}");
        let nobody = but(fid, |_| not_forwarded()).unwrap_err();
        assert_eq!(nobody, Decline::Command(Error::NotForwarded(fid)));
    }
    // It took a configuration and then says that it is active already.
    let confused = but(Fid::RMM_ACTIVATE, |_| status(Status::ErrorGlobal)).unwrap_err();
    assert!(matches!(
        confused,
        Decline::Command(Error::Refused(Fid::RMM_ACTIVATE, _))
    ));
    let greedy = but(Fid::RMM_ACTIVATE, |_| incomplete(1, false, 0)).unwrap_err();
    assert_eq!(
        greedy,
        Decline::Command(Error::WantsMemory(Fid::RMM_ACTIVATE))
    );
}

fn range(range: &Range<u64>) -> AddrRange {
    AddrRange::new(PhysAddr::new(range.start), PhysAddr::new(range.end)).unwrap()
}

fn ram() -> AddrRange {
    range(&(0x4000_0000..0x8000_0000))
}

#[test]
fn memory_that_is_tracked_in_parts_is_fine() {
    let part = 0x1000_0000;
    let rmi = rmm(|_, args| success(&[0, 2, args.x(2).min(args.x(1) + part)]));
    assert_eq!(check_ram(&rmi, ram()), Ok(()));
    assert_eq!(
        rmi.conduit().counts().commands().next(),
        Some((Fid::GRANULE_TRACKING_GET, 4, 0))
    );
}

#[test]
fn memory_that_cannot_be_delegated_is_named() {
    for (category, tracking) in [
        (0, 1),
        (0, 3),
        (0, 4),
        (0, 0),
        (1, 2),
        (2, 2),
        (3, 2),
        (9, 2),
    ] {
        let rmi = rmm(|_, args| match args.x(1) {
            0x4000_0000 => success(&[0, 2, 0x6000_0000]),
            _ => success(&[category, tracking, 0x6000_3000]),
        });
        let declined = check_ram(&rmi, ram()).unwrap_err();
        assert!(
            declined.to_string().contains("0x60000000..0x60003000"),
            "{declined}"
        );
        assert!(matches!(declined, Decline::Ram(..)));
    }
}

/// Memory with holes, which begins and ends in the middle of the RMM's regions.
const APART: [Range<u64>; 3] = [
    0x4190_0000..0x7f80_0000,
    0x8000_1000..0xc800_0000,
    0x8_8123_4000..0x9_0000_3000,
];

/// Bytes of a region, at the end of which the RMM's answers stop.
const REGION: u64 = 1 << 30;

/// The RMM is asked of memory with holes, range by range. There is `odd` somewhere, which it says that of.
/// Returns what comes of it, and what was asked.
fn check_apart(odd: &Range<u64>, says: (u64, u64)) -> (Result<(), Decline>, Vec<Range<u64>>) {
    let asked = RefCell::new(Vec::new());
    let rmi = rmm(|_, args| {
        let (base, top) = (args.x(1), args.x(2));
        asked.borrow_mut().push(base..top);
        let ((category, tracking), end) = match base {
            _ if odd.contains(&base) => (says, odd.end),
            _ if base < odd.start => ((0, 2), odd.start),
            _ => ((0, 2), top),
        };
        let region = (base / REGION + 1) * REGION;
        success(&[category, tracking, top.min(end).min(region)])
    });
    let mut apart = APART.iter();
    let result = apart.try_for_each(|memory| check_ram(&rmi, range(memory)));
    (result, asked.into_inner())
}

/// All of it, from where an answer stops on, and nothing of the holes.
#[test]
fn memory_with_holes_is_asked_of_range_by_range() {
    for odd in [0..0, 0x7f80_0000..0x8000_1000, 0xc800_0000..0x8_0000_0000] {
        let (result, asked) = check_apart(&odd, (2, 1));
        assert_eq!(result, Ok(()), "{odd:x?}");
        assert_eq!(
            asked,
            [
                0x4190_0000..0x7f80_0000,
                0x8000_1000..0xc800_0000,
                0xc000_0000..0xc800_0000,
                0x8_8123_4000..0x9_0000_3000,
                0x8_c000_0000..0x9_0000_3000,
                0x9_0000_0000..0x9_0000_3000,
            ],
            "{odd:x?}"
        );
    }
}

/// Wherever it is, and even if the holes beside it are no better. Nothing else is asked then.
#[test]
fn the_part_that_cannot_be_delegated_is_named() {
    for (odd, named) in [
        (0x4190_0000..0x4190_1000, 0x4190_0000..0x4190_1000),
        (0x5000_0000..0x5fff_f000, 0x5000_0000..0x5fff_f000),
        (0x7f70_0000..0x8000_0000, 0x7f70_0000..0x7f80_0000),
        (0x7f80_0000..0x8000_2000, 0x8000_1000..0x8000_2000),
        // In two regions: it is named as far as the answer goes.
        (0xbfff_f000..0xc000_1000, 0xbfff_f000..0xc000_0000),
        (0xc000_0000..0xc000_1000, 0xc000_0000..0xc000_1000),
        (0x8_0000_0000..0x9_1000_0000, 0x8_8123_4000..0x8_c000_0000),
        (0x9_0000_2000..0x9_0000_3000, 0x9_0000_2000..0x9_0000_3000),
    ] {
        for (says, category, tracking) in [
            ((1, 2), Category::DeviceNonCoherent, Tracking::Fine),
            ((0, 1), Category::Conventional, Tracking::None),
            ((0, 3), Category::Conventional, Tracking::Coarse),
        ] {
            let (result, asked) = check_apart(&odd, says);
            let info = TrackingInfo {
                category,
                tracking,
                range: range(&named),
            };
            assert_eq!(result, Err(Decline::Ram(info)), "{odd:x?}");
            let last = asked.last().map(|asked| asked.start);
            assert_eq!(last, Some(named.start), "{odd:x?}");
        }
    }
}

#[test]
fn tracking_that_makes_no_progress_ends() {
    for top in [0, 0x4000_0000, 0x4000_0001, 0x8000_1000, u64::MAX] {
        let declined = check_ram(&rmm(|_, _| success(&[0, 2, top])), ram()).unwrap_err();
        assert!(
            matches!(declined, Decline::Command(Error::Broken(..))),
            "{top:#x}"
        );
    }
}

/// What the RMM says of memory that cannot be delegated is said by its name.
#[test]
fn tracking_has_names() {
    let said = |category, tracking| {
        let rmi = rmm(move |_, args: &Regs| success(&[category, tracking, args.x(2)]));
        match check_ram(&rmi, ram()).unwrap_err() {
            Decline::Ram(info) => (info.category, info.tracking),
            other => panic!("{other}"),
        }
    };
    for (category, name) in [
        (1, Category::DeviceNonCoherent),
        (2, Category::DeviceCoherent),
        (3, Category::None),
        (7, Category::Unknown(7)),
    ] {
        assert_eq!(said(category, 2), (name, Tracking::Fine));
    }
    for (tracking, name) in [
        (0, Tracking::Unknown(0)),
        (1, Tracking::None),
        (3, Tracking::Coarse),
        (4, Tracking::Intermediate),
        (8, Tracking::Unknown(8)),
    ] {
        assert_eq!(said(0, tracking), (Category::Conventional, name));
    }
}

/// An RMM that died, or says what no RMM says, from any command on: the host gets to an end, after a
/// number of calls that is known, and says which command it was.
#[test]
fn an_rmm_that_stops_making_sense() {
    let ours = [
        Fid::VERSION,
        Fid::FEATURES,
        Fid::RMM_CONFIG_SET,
        Fid::RMM_CONFIG_GET,
        Fid::RMM_ACTIVATE,
    ];
    let mut codes: Vec<u64> = (1..=18).chain([0x77, 0xff]).collect();
    // What EL3 may say of a call that it does not hand on: SMCCC's own codes, in 64 and in 32 bits.
    codes.extend([-1i64, -2, -3].map(|code| code as u64));
    codes.extend([u64::from(u32::MAX), 0xffff_ff77, 1 << 63 | 1]);
    codes.extend((0..8).map(|request| request << 8 | 0xd));
    for (from, fid) in ours.into_iter().enumerate() {
        for code in codes.iter().copied() {
            for results in [0, u64::MAX] {
                let (mut is_dead, mut calls) = (false, 0);
                let rmi = rmm(move |called, args| {
                    calls += 1;
                    assert!(calls < 1_000_000, "{fid}: {code:#x}: never ends");
                    is_dead |= called == fid;
                    match is_dead {
                        true => Regs::new(code, &[results; 4]),
                        // An RMM that is active already has its configuration read.
                        false if called == Fid::RMM_CONFIG_SET && fid == Fid::RMM_CONFIG_GET => {
                            status(Status::ErrorGlobal)
                        }
                        false => good(called, args),
                    }
                });
                let declined = negotiate(&rmi, &mut Page::new()).unwrap_err();
                let what = format!("{fid} (command {from}), {code:#x}: {declined}");
                assert!(!declined.to_string().is_empty(), "{what}");
                match declined {
                    Decline::Command(error) => {
                        assert!(error.to_string().contains("RMI_"), "{what}");
                    }
                    Decline::NoRmm => assert_eq!((fid, code), (Fid::VERSION, u64::MAX), "{what}"),
                    Decline::Version(_) => assert_eq!(fid, Fid::VERSION, "{what}"),
                    _ => panic!("{what}"),
                }
            }
        }
    }
}

/// It is busy when it is asked for the first time, as it may be while it boots on another CPU.
#[test]
fn busy_at_the_first_call_is_no_end() {
    let mut left = 100;
    let agreed = but(Fid::VERSION, move |_| match left {
        0 => success(&[0x20000, 0x20000]),
        _ => {
            left -= 1;
            status(Status::Busy)
        }
    });
    assert!(agreed.is_ok());
    let busy = but(Fid::VERSION, |_| status(Status::Busy)).unwrap_err();
    assert_eq!(busy, Decline::Command(Error::StillBusy(Fid::VERSION)));
}
