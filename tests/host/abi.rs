// SPDX-License-Identifier: GPL-2.0

//! Numbers and encodings: what stands in registers.

use kvm_arm_rmi::rmi::cmd::rmm::{Config, Version};
use kvm_arm_rmi::rmi::{
    needs_lpa2,
    AddrRange,
    Features,
    Fid,
    MemoryRequest,
    PhysAddr,
    Regs,
    ReturnCode,
    Status, //
};
use std::collections::HashSet;

#[test]
fn function_numbers_are_distinct_and_fast_smc64_calls() {
    let numbers: HashSet<u32> = Fid::ALL.iter().map(|fid| fid.raw()).collect();
    assert_eq!(numbers.len(), Fid::COUNT);
    for fid in Fid::ALL {
        assert_eq!(fid.raw() & 0xffff_f000, 0xc400_0000, "{fid}");
        assert_eq!(Fid::ALL[fid.index().unwrap()], *fid);
    }
    assert_eq!(Fid::from_raw(0xc400_0fff).index(), None);
    assert_eq!(
        Fid::GRANULE_RANGE_DELEGATE.to_string(),
        "RMI_GRANULE_RANGE_DELEGATE (0xc40001f1)"
    );
}

#[test]
fn every_status_number_survives_a_round_trip() {
    for raw in 0..=u8::MAX {
        assert_eq!(Status::from_raw(raw).raw(), raw);
    }
    assert_eq!(Status::from_raw(4), Status::ErrorRtt);
    assert_eq!(Status::from_raw(10), Status::Busy);
    assert_eq!(Status::from_raw(16), Status::ErrorGranule);
    assert_eq!(Status::from_raw(17), Status::Unknown(17));
}

#[test]
fn return_codes_come_apart_as_tf_rmm_puts_them_together() {
    // REC_CREATE's first answer on TF-RMM.
    let donate = ReturnCode::new(0x10d);
    assert_eq!(donate.status(), Status::Incomplete);
    assert_eq!(donate.memory_request(), MemoryRequest::Donate);
    assert!(!donate.can_cancel());
    // REC_DESTROY's.
    assert_eq!(
        ReturnCode::new(0x20d).memory_request(),
        MemoryRequest::Reclaim
    );
    assert!(ReturnCode::new(0x40d).can_cancel());
    assert_eq!(ReturnCode::new(0x204).index(), 2);
    assert_eq!(
        ReturnCode::new(0x30d).memory_request(),
        MemoryRequest::Unknown
    );
}

#[test]
fn versions_have_major_and_minor() {
    assert_eq!(Version::OURS.raw(), 0x20000);
    let odd = Version::from_raw(0xffff_ffff_8003_0001);
    assert_eq!((odd.major, odd.minor), (3, 1));
    assert!(Version { major: 1, minor: 9 } < Version::OURS);
}

#[test]
fn features_read_as_on_tf_rmm() {
    let features = Features::new([0x317f34, 0x142a9, 0, 3, 0]);
    assert_eq!(features.s2sz(), 52);
    assert!(features.lpa2() && features.sve() && !features.pmu());
    assert_eq!(features.sve_vq(), 16);
    assert_eq!(features.breakpoints(), 6);
    assert_eq!(features.watchpoints(), 4);
    assert!(features.granule(12) && !features.granule(14) && !features.granule(16));
    assert!(!features.granule(13));
    assert!(features.sha256() && !features.sha384() && features.sha512());
    assert_eq!(features.max_recs_order(), 10);
}

#[test]
fn the_pmu_has_a_number_of_counters() {
    let of = |register| Features::new([register, 0, 0, 0, 0]);
    assert!(!of(31 << 27).pmu());
    // None at all would take FEAT_HPMN0: realms can have no such PMU.
    assert!(!of(1 << 26).pmu());
    for counters in [1, 6, 31] {
        let features = of(counters << 27 | 1 << 26 | u64::MAX << 32);
        assert!(features.pmu());
        assert_eq!(features.pmu_counters(), counters);
        let said = format!("PMU with {counters} counters");
        assert!(features.to_string().contains(&said));
    }
}

/// Each of them has a bit of its own, and no other says anything about it.
#[test]
fn what_the_rmm_has_is_a_bit_each() {
    let is_there = |features: Features| {
        [
            features.lpa2(),
            features.sve(),
            features.pmu(),
            features.granule(12),
            features.granule(14),
            features.granule(16),
            features.sha256(),
            features.sha384(),
            features.sha512(),
        ]
    };
    let bits = [
        (0, 8),
        (0, 9),
        (0, 26),
        (1, 0),
        (1, 1),
        (1, 2),
        (1, 3),
        (1, 4),
        (1, 5),
    ];
    for register in 0..5 {
        for bit in 0..64 {
            // The PMU has a counter, if there is one.
            let mut regs = [1 << 27, 0, 0, 0, 0];
            regs[register] |= 1 << bit;
            let expected = bits.map(|place| place == (register, bit));
            assert_eq!(is_there(Features::new(regs)), expected, "{register}: {bit}");
        }
    }
}

/// 52 bits take LPA2 as well, which an RMM may not have for stage 2.
#[test]
fn ipas_are_as_wide_as_the_tables_allow() {
    const LPA2: u64 = 1 << 8;
    for (register, bits) in [
        (LPA2 | 52, 52),
        (52, 48),
        (49, 48),
        (LPA2 | 48, 48),
        (48, 48),
        (40, 40),
    ] {
        let features = Features::new([register, 0, 0, 0, 0]);
        assert_eq!(features.ipa_bits(), bits, "{register:#x}");
    }
    assert!((32..=52).all(|bits| needs_lpa2(bits) == (bits > 48)));
}

#[test]
fn features_of_all_ones_and_zeroes_can_be_read_and_printed() {
    for regs in [[0; 5], [u64::MAX; 5]] {
        assert!(!Features::new(regs).to_string().is_empty());
    }
}

#[test]
fn configuration_follows_the_page_size() {
    let sizes = [12, 14, 16].map(|shift| Config::for_granule(shift).unwrap().granule_size);
    assert_eq!(sizes, [0, 1, 2]);
    assert_eq!(Config::for_granule(13), None);
}

#[test]
fn registers_beyond_the_block_are_dropped_and_read_as_zero() {
    let regs = Regs::new(1, &[2; 30]);
    assert_eq!((regs.x(0), regs.x(17), regs.x(18)), (1, 2, 0));
}

#[test]
fn ranges_are_whole_granules_and_never_empty() {
    let range = |base, top| AddrRange::new(PhysAddr::new(base), PhysAddr::new(top));
    assert_eq!(range(0x1000, 0x1000), None);
    assert_eq!(range(0x2000, 0x1000), None);
    assert_eq!(range(0x1001, 0x3000), None);
    assert_eq!(range(0x1000, 0x3001), None);
    assert_eq!(range(0x1000, 0x3000).unwrap().granules(), 2);
    assert_eq!(range(0, !0xfff).unwrap().granules(), (1 << 52) - 1);
}

#[test]
fn a_split_gives_both_sides_or_refuses() {
    let range = AddrRange::new(PhysAddr::new(0x1000), PhysAddr::new(0x4000)).unwrap();
    let at = |raw| range.split(PhysAddr::new(raw));
    let (below, above) = at(0x2000).unwrap();
    assert_eq!(
        (below.unwrap().granules(), above.unwrap().granules()),
        (1, 2)
    );
    assert_eq!(at(0x1000), Some((None, Some(range))));
    assert_eq!(at(0x4000), Some((Some(range), None)));
    for outside in [0, 0x800, 0x5000, 0x2001, u64::MAX] {
        assert_eq!(at(outside), None);
    }
}
