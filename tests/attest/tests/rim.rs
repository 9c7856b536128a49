// SPDX-License-Identifier: GPL-2.0

//! The measurement that is worked out is the one that the embedded RMM makes, by all algorithms.

use realm_attest::hash::Hash;
use realm_attest::rim::{Params, Rim, PAGE};
use rmm::measurement::{self, Algorithm, Measurement};
use rmm::platform::{GranuleData, GRANULE_WORDS};

const IPA: u64 = 0x4000_0000;
const MIB: u64 = 1 << 20;
const PC: u64 = IPA + 0x80;
const X0: u64 = 0x4567_0000;

/// A granule with these words at its beginning.
fn granule(words: &[u64]) -> GranuleData {
    let mut granule = [0; GRANULE_WORDS];
    granule[..words.len()].copy_from_slice(words);
    granule
}

fn bytes(granule: &GranuleData) -> [u8; PAGE] {
    let bytes: Vec<u8> = granule.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.try_into().unwrap()
}

#[test]
fn as_the_rmm_measures() {
    // With and without LPA2, SVE and a PMU: the parameters, and what `RmiRealmParams` begins with.
    for (params, words) in [
        (
            Params {
                ipa_bits: 40,
                sve_quadwords: 0,
                breakpoints: 6,
                watchpoints: 4,
                pmu_counters: None,
            },
            [0, 40, 0, 5, 3, 0],
        ),
        (
            Params {
                ipa_bits: 52,
                sve_quadwords: 16,
                breakpoints: 2,
                watchpoints: 2,
                pmu_counters: None,
            },
            [3, 52, 15, 1, 1, 0],
        ),
        (
            Params {
                ipa_bits: 40,
                sve_quadwords: 0,
                breakpoints: 2,
                watchpoints: 2,
                pmu_counters: Some(6),
            },
            [4, 40, 0, 1, 1, 6],
        ),
    ] {
        for hash in Hash::ALL {
            let algorithm = Algorithm::from_raw(hash as u8).unwrap();
            let mut value: Measurement = [0; measurement::MAX_BYTES];
            let mut theirs = measurement::Rim {
                algorithm,
                value: &mut value,
            };
            let mut with_hash = words.to_vec();
            with_hash.push(hash as u64);
            theirs.start(&granule(&with_hash));
            let content = granule(&[1, 2, 3]);
            theirs.add_data(IPA, 1, Some(&content));
            theirs.add_data(IPA + PAGE as u64, 0, None);
            let mut rec = granule(&[1]);
            (rec[0x200 / 8], rec[0x300 / 8]) = (PC, X0);
            theirs.add_rec(&rec);

            let mut ours = Rim::new(hash, &params);
            ours.page(IPA, Some(&bytes(&content)));
            ours.page(IPA + PAGE as u64, None);
            ours.rec(PC, X0);
            assert_eq!(ours.value(), &value[..hash.size()], "{hash:?}, {params:?}");
        }
    }
}

/// Slots that begin and end anywhere, with a page here and there: each entry of RMM 1.0's tables, for IPA
/// spaces whose tables start at each level.
#[test]
fn ram_is_measured_entry_by_entry() {
    let page = PAGE as u64;
    let first: Vec<_> = (0..512)
        .filter(|n| ![0, 7].contains(n))
        .map(|n| (IPA + n * page, page))
        .collect();
    let blocks = [(IPA + 2 * MIB, 2 * MIB), (IPA + 4 * MIB, 2 * MIB)];
    let end = [(IPA + 6 * MIB, page), (IPA + 6 * MIB + page, page)];
    let small = [&first[..], &blocks, &end].concat();
    let gib = [(1 << 31, 1 << 30), (3 << 30, 2 * MIB)];
    let in_blocks: Vec<_> = (0..512)
        .map(|n| ((1 << 31) + n * 2 * MIB, 2 * MIB))
        .chain([(3 << 30, 2 * MIB)])
        .collect();
    let large = [(1 << 39, 1 << 39), (1 << 40, 1 << 30)];
    for (ipa_bits, slot, entries) in [
        (40, IPA..IPA + 6 * MIB + 2 * page, small.clone()),
        (33, IPA..IPA + 6 * MIB + 2 * page, small),
        (43, 1 << 31..(3 << 30) + 2 * MIB, gib.to_vec()),
        (34, 1 << 31..(3 << 30) + 2 * MIB, in_blocks),
        (44, 1 << 39..(1 << 40) + (1 << 30), large.to_vec()),
    ] {
        let params = Params {
            ipa_bits,
            sve_quadwords: 0,
            breakpoints: 2,
            watchpoints: 2,
            pmu_counters: None,
        };
        let mut value: Measurement = [0; measurement::MAX_BYTES];
        let mut theirs = measurement::Rim {
            algorithm: Algorithm::Sha256,
            value: &mut value,
        };
        theirs.start(&granule(&[0, ipa_bits.into(), 0, 1, 1, 0, 0]));
        theirs.add_data(IPA, 0, None);
        theirs.add_data(IPA + 7 * page, 0, None);
        for (base, size) in &entries {
            theirs.add_ripas(*base..base + size);
        }

        let mut ours = Rim::new(Hash::Sha256, &params);
        ours.page(IPA, None);
        ours.page(IPA + 7 * page, None);
        ours.ram(slot);
        assert_eq!(ours.value(), &value[..32], "{ipa_bits}");
    }
}
