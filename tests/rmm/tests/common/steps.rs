// SPDX-License-Identifier: GPL-2.0

//! What may happen to realms and their tables, at random.

use proptest::prelude::*;
use rmm::rtt::block_size;

use super::ghost::Realm;
use super::pa;
use super::realm::{BLOCK, FREE, SHARED};

/// Granules that the sequences are about, apart from two blocks.
pub(crate) const GRANULES: u64 = 20;

/// What the host names: memory, by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory(pub(crate) u64);

impl Memory {
    pub(crate) fn pa(self) -> u64 {
        match self.0 {
            n if n < GRANULES => pa(FREE + n),
            n => BLOCK + (n - GRANULES) * block_size(3),
        }
    }
}

/// A place in the IPA space of a realm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ipa(pub(crate) u64);

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Delegate(Memory, u64),
    Undelegate(Memory, u64),
    Create(Memory, Memory),
    Activate(usize),
    Terminate(usize),
    Destroy(usize),
    CreateTable(usize, Memory, Ipa, i8),
    DestroyTable(usize, Ipa, i8),
    Fold(usize, Ipa, i8),
    InitRipas(usize, Ipa, u64),
    Map(usize, Ipa, Memory, u64, i8),
    MapInit(usize, Ipa, Memory),
    Unmap(usize, Ipa, u64, u64),
    Share(usize, Ipa, Memory, u64, i8),
    Unshare(usize, Ipa, u64, u64),
    Continue,
    Access(usize),
    InterruptAfter(u64),
}

fn memory() -> impl Strategy<Value = Memory> {
    prop_oneof![
        6 => (0..GRANULES).prop_map(Memory),
        2 => (0..2u64).prop_map(|block| Memory(GRANULES + 512 * block)),
        2 => (0..1024u64).prop_map(|page| Memory(GRANULES + page)),
    ]
}

/// The pages of a block that the sequences are about.
const PAGES: [u64; 4] = [0, 1, 2, 511];

/// A place in the IPA space: mostly where there are tables.
fn ipa() -> impl Strategy<Value = Ipa> {
    let giga = prop_oneof![6 => Just(0u64), 1 => Just(1)];
    let block = prop_oneof![3 => Just(0u64), 1 => Just(1)];
    (0..2u64, giga, block, 0..PAGES.len()).prop_map(|(half, giga, block, page)| {
        let page = PAGES[page] * block_size(3);
        Ipa(half * SHARED + giga * block_size(1) + block * block_size(2) + page)
    })
}

/// Every IPA of a realm that the sequences are about.
pub(crate) fn every(realm: Realm) -> impl Iterator<Item = (Realm, u64)> {
    let places = (0..8).flat_map(|n| PAGES.map(|page| (n, page)));
    places.map(move |(n, page)| {
        let block = (n >> 2) * SHARED + (n >> 1 & 1) * block_size(1) + (n & 1) * block_size(2);
        (realm, block + page * block_size(3))
    })
}

fn level() -> impl Strategy<Value = i8> {
    prop_oneof![1 => Just(1i8), 4 => Just(2i8), 6 => Just(3i8)]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let realm = || prop_oneof![6 => Just(0usize), 1 => Just(1)];
    let count = || prop_oneof![6 => 1..4u64, 1 => Just(512u64)];
    let granules = (memory(), count()).boxed();
    let entry = (realm(), ipa(), level()).boxed();
    let range = (realm(), ipa(), count()).boxed();
    let blocks = (realm(), ipa(), memory(), count(), level()).boxed();
    let unmap = (realm(), ipa(), count(), 0..3u64).boxed();
    prop_oneof![
        20 => granules.clone().prop_map(|(m, n)| Step::Delegate(m, n)),
        10 => granules.prop_map(|(m, n)| Step::Undelegate(m, n)),
        4 => (memory(), memory()).prop_map(|(rd, root)| Step::Create(rd, root)),
        1 => realm().prop_map(Step::Activate),
        1 => realm().prop_map(Step::Terminate),
        4 => realm().prop_map(Step::Destroy),
        20 => (realm(), memory(), ipa(), level())
            .prop_map(|(r, m, ipa, level)| Step::CreateTable(r, m, ipa, level)),
        10 => entry.clone().prop_map(|(r, ipa, level)| Step::DestroyTable(r, ipa, level)),
        10 => entry.prop_map(|(r, ipa, level)| Step::Fold(r, ipa, level)),
        15 => range.prop_map(|(r, ipa, n)| Step::InitRipas(r, ipa, n)),
        30 => blocks.clone().prop_map(|(r, ipa, m, n, level)| Step::Map(r, ipa, m, n, level)),
        15 => (realm(), ipa(), memory()).prop_map(|(r, ipa, m)| Step::MapInit(r, ipa, m)),
        20 => unmap.clone().prop_map(|(r, ipa, n, kind)| Step::Unmap(r, ipa, n, kind)),
        10 => blocks.prop_map(|(r, ipa, m, n, level)| Step::Share(r, ipa, m, n, level)),
        10 => unmap.prop_map(|(r, ipa, n, kind)| Step::Unshare(r, ipa, n, kind)),
        10 => Just(Step::Continue),
        20 => realm().prop_map(Step::Access),
        3 => (0..200u64).prop_map(Step::InterruptAfter),
    ]
}

/// A generator of numbers that is the same everywhere.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// The next one, less than `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
