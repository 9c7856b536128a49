// SPDX-License-Identifier: GPL-2.0

//! Taking memory out of a realm.
//!
//! This cannot fail: user space, the guest_memfd file or the kernel's memory management take the
//! memory away as soon as it returns. If the RMM does not do what it is told, the realm is killed: none
//! of its vCPUs runs then and none ever will, so that nobody uses what is still mapped. That stays
//! noted, and is tried again at the end. What is private is kept from everybody else, for its file
//! gives up nothing that is noted; what is shared is forgotten when the RMM terminates the realm. An RMM of
//! version 1.0 does not hear of that. Nobody enters its RECs then, for KVM lets none but the process run that
//! has made the VM, whose memory is going; but TLBs may have what is mapped, under a VMID that another realm
//! will have: so it is unmapped.

use super::{Part, Parting};
use crate::{
    exit::Half,
    realm::{
        bitmap::Bitmap,
        next_span,
        smc::{Pause, RealmSmc},
        vm::Vm,
        MissingTable, //
    },
    rmi::{Fid, Rmi, GRANULE_SIZE},
    sys::{
        kvm::MmuWriteLock,
        prelude::*,
        sched,
        trace, //
    }, //
};
use core::ops::Range;

/// What is taken out of a VM's realm, by its notes; `None` if there is no realm.
fn parting<'a>(
    vm: &'a Vm,
    rmi: &'a Rmi<RealmSmc<'a>>,
    notes: &'a Bitmap,
) -> Option<Parting<'a, RealmSmc<'a>>> {
    Some(Parting {
        rmi,
        rd: vm.name().ok()?,
        tables: vm.tables(),
        space: vm.space,
        notes,
    })
}

/// Takes private granules out of the realm and gives their pages back. When this returns none of them
/// is mapped or delegated; false if the RMM may have some still, which their file has to keep then: what is
/// mapped has no other references.
///
/// `mmu_lock` is not needed, and so it is dropped meanwhile: undelegation takes long. Nobody maps
/// anything in `gfns` until this is over, because they are being invalidated, their slot is no longer
/// valid, or no vCPU runs any more. Nobody else takes anything out, for that takes [`Vm::parting`]. And
/// nobody delegates a page that is still delegated: its granule is noted for so long, and faults and
/// populate leave alone what is noted.
pub fn private(vm: &Vm, gfns: Range<u64>, lock: &mut MmuWriteLock<'_>) -> bool {
    // Mostly there is nothing: what is being converted is private on one side only.
    let is_parted = || next_span(&vm.pages, &gfns).is_none();
    if is_parted() {
        return true;
    }
    lock.without(|| {
        let rmi = vm.rmi(Pause::Resched);
        let Some(realm) = parting(vm, &rmi, &vm.pages) else {
            return;
        };
        let mut left = gfns.clone();
        // Others get their turn between batches.
        while let Some(part) = {
            let mut list = vm.parting.lock();
            let give = |piece| vm.take_back(piece);
            realm.private(&left, &mut *list, give, |table| split(vm, table))
        } {
            left.start = part.top;
            vm.blocks_gone(&part.gone);
            took(vm, Half::Protected, part);
        }
    });
    is_parted()
}

/// Splits a block of private memory with the table that was set aside for it. False if it stays.
fn split(vm: &Vm, table: MissingTable) -> bool {
    vm.make_table(table).is_ok()
}

/// Unmaps shared granules. When this returns none of them is mapped, unless the realm is dead.
///
/// KVM keeps faults away from the range. One hold of `mmu_lock` has one command, whose notes are struck
/// out before it ends; if this may not block, all of it is one hold.
pub fn shared(vm: &Vm, gfns: Range<u64>, lock: &mut MmuWriteLock<'_>, may_block: bool) {
    let rmi = vm.rmi(Pause::Never);
    let Some(realm) = parting(vm, &rmi, &vm.shared) else {
        return;
    };
    let mut left = gfns;
    let mut blocked = 0;
    while let Some(part) = realm.shared(&left) {
        if part.is_blocked() && vm.may_try_again(Fid::RTT_UNPROT_UNMAP, blocked) {
            // An operation has to end first, which may be another realm's and sleep.
            blocked += 1;
            if may_block {
                lock.without(sched::sleep_1ms);
            }
            continue;
        }
        blocked = 0;
        left.start = part.top;
        took(vm, Half::Unprotected, part);
        if may_block && left.start < left.end {
            lock.pause();
        }
    }
}

/// Tells what was taken out, and ends a realm that cannot be parted from it.
fn took(vm: &Vm, half: Half, part: Part) {
    let private = half == Half::Protected;
    trace::realm_unmap(|| vm.rd(), private, &part.gone, part.granules);
    if let Some(why) = part.kept {
        let kind = match half {
            Half::Protected => "private",
            Half::Unprotected => "shared",
        };
        vm.kill(fmt!("it cannot be parted from {kind} memory: {why}"));
    }
}

/// Takes everything out of the realm of a VM that no task runs any more, if that has not been done:
/// what is private, and what is shared as well if the RMM does not terminate the realm, which would be
/// the end of that. Files of guest_memfd may still be at work on it.
pub fn all(vm: &Vm) {
    let Some(terminated) = vm.terminate() else {
        return;
    };
    let top = vm.space.unprotected_bit() / GRANULE_SIZE;
    let mut lock = MmuWriteLock::new(&vm.kvm);
    private(vm, 0..top, &mut lock);
    if !terminated {
        shared(vm, 0..top, &mut lock, true);
    }
}
