// SPDX-License-Identifier: GPL-2.0

//! Giving back tables that a conversion has left without a purpose.

use crate::{
    realm::{next_span, smc::Pause, vm::Vm, MissingTable},
    rmi::{RttLevel, GRANULE_SIZE},
    sys::kvm::MmuWriteLock, //
};
use core::ops::Range;

/// What a table of the lowest level maps.
const PER_TABLE: u64 = RttLevel::L2.block_size();

/// Folds the tables of the lowest level that lie in `range` of protected IPAs, all of which is EMPTY
/// now and not private: the RMM has one entry for each then, and so the next change takes one command
/// for many.
pub fn empty(vm: &Vm, range: Range<u64>) {
    let (first, end) = (range.start.next_multiple_of(PER_TABLE), range.end);
    let mut from = first;
    while let Some(table) = vm.tables.next_table(RttLevel::L3, from) {
        if table.ipa + PER_TABLE > end {
            break;
        }
        from = table.ipa + PER_TABLE;
        one(vm, table);
    }
}

/// True if nothing is mapped there.
fn is_unused(vm: &Vm, table: MissingTable) -> bool {
    let start = table.ipa / GRANULE_SIZE;
    next_span(&vm.pages, &(start..start + PER_TABLE / GRANULE_SIZE)).is_none()
}

/// Folds a table in which nothing is mapped. Should the RMM refuse, because memory was converted back
/// at this very moment, the table stays.
fn one(vm: &Vm, table: MissingTable) {
    let Ok(name) = vm.name() else { return };
    let _making = vm.lock_table(table);
    // Who maps has seen the table under this lock, or notes something in it; who unmaps shared memory
    // must not find it missing while it still is there.
    let lock = MmuWriteLock::new(&vm.kvm);
    let folded = match is_unused(vm, table) {
        true => vm.tables().fold(&vm.rmi(Pause::Never), name, table).ok(),
        false => None,
    };
    drop(lock);
    if let Some(granule) = &folded {
        vm.objects.remove(granule);
    }
    folded.into_iter().for_each(|granule| vm.keep_table(granule));
}
