// SPDX-License-Identifier: GPL-2.0

//! How much of private memory one fault brings in.

use crate::{
    realm::{
        block_around,
        count,
        vm::Vm,
        BLOCK,
        CHUNK, //
    },
    rmi::GRANULE_SIZE,
    sys::platform, //
};
use core::ops::Range;

/// Granules of the first fault in a block that is brought in bit by bit: 64 KiB.
pub(super) const FIRST: u64 = 16;

/// Granules to map around a fault of the realm's at granule `gfn`, a power of two.
///
/// The parameter `fault_around` says how many at most. With `fault_adaptive` the realm has to show that it
/// uses its memory: the more it has of a block of 2 MiB, the more it gets, and all of it at once where it
/// has most of the block before or after. That is written down nowhere but in the notes of what is mapped:
/// vCPUs that fault in one block see what the others have brought in, and share no counter.
pub fn fault_around(vm: &Vm, gfn: u64) -> u64 {
    let most = match vm.wide {
        true => BLOCK,
        false => CHUNK,
    };
    let granules = (u64::from(platform::fault_around()) / GRANULE_SIZE).clamp(1, most);
    let most = 1 << granules.ilog2();
    match most > FIRST && platform::fault_adaptive() {
        true => adapted(vm, gfn).min(most),
        false => most,
    }
}

/// As much as a realm has shown that it uses.
fn adapted(vm: &Vm, gfn: u64) -> u64 {
    let has = |block: Range<u64>| count(&vm.pages, &block);
    let block = block_around(gfn);
    match has(block.clone()) {
        0 => {
            let before = block.start.checked_sub(BLOCK).map(block_around);
            let used = |block: Range<u64>| has(block) > BLOCK / 2;
            match before.is_some_and(used) || used(block_around(block.end)) {
                true => BLOCK,
                false => FIRST,
            }
        }
        // What comes doubles it at least, as far as it is not there.
        some => (2 * some).next_power_of_two().clamp(FIRST, BLOCK),
    }
}
