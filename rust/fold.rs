// SPDX-License-Identifier: GPL-2.0

//! Giving back tables that a conversion has left without a purpose.

use crate::{
    guest_memfd::next_span,
    mmu::MissingTable,
    rmi::{RttLevel, GRANULE_SIZE},
    smccc::Pause,
    vm::Vm, //
};
use core::ops::Range;

/// What a table of the lowest level maps.
const PER_TABLE: u64 = RttLevel::L2.block_size();

/// Folds the tables of the lowest level that lie in `range` of protected IPAs, all of which is EMPTY
/// now and not private: the RMM has one entry for each then, and so the next change takes one command
/// for many.
pub(crate) fn empty(vm: &Vm, range: Range<u64>) {
    let (first, end) = (range.start.next_multiple_of(PER_TABLE), range.end);
    let mut from = first;
    while let Some(table) = vm.next_table(RttLevel::L3, from) {
        if table.ipa + PER_TABLE > end {
            break;
        }
        from = table.ipa + PER_TABLE;
        if is_unused(vm, table) {
            one(vm, table);
        }
    }
}

/// True if nothing is mapped there.
fn is_unused(vm: &Vm, table: MissingTable) -> bool {
    let start = table.ipa / GRANULE_SIZE;
    next_span(&vm.pages, &(start..start + PER_TABLE / GRANULE_SIZE)).is_none()
}

/// Folds a table. Should the RMM refuse, because memory was converted back at this very moment, the
/// table stays.
fn one(vm: &Vm, table: MissingTable) {
    let Ok(name) = vm.name() else { return };
    let _making = vm.making.lock();
    if let Ok(granule) = vm.tables().fold(&vm.rmi(Pause::Resched), name, table) {
        vm.free(granule);
    }
}
