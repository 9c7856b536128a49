// SPDX-License-Identifier: GPL-2.0

//! What a host does otherwise on an RMM that speaks RMI 1.0.

use core::sync::atomic::{AtomicU64, Ordering};

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};

use crate::gic;
use crate::memory::{self, BLOCK_SIZE};
use crate::probe::Probe;
use crate::world::{Realm, GIB};

const VERSION_1_0: u64 = 0x1_0000;

/// Where `RmiRealmParams` has the VMID.
pub(crate) const VMID: u64 = 0x800;
/// VMIDs are used again after as many realms.
const VMIDS: u64 = 200;
/// Realms so far.
static REALMS: AtomicU64 = AtomicU64::new(0);

/// Where `RmiRecParams` has the number of auxiliary granules. Their addresses follow.
pub(crate) const AUX: u64 = 0x800;

/// Where `RmiRecRun` has the first list register for an entry, and after an exit. The others follow.
pub(crate) const ENTER_LRS: u64 = 0x308;
const EXIT_LRS: u64 = 0xb08;
/// Where it has ICH_HCR_EL2 for an entry.
pub(crate) const ENTER_HCR: u64 = 0x300;
/// List registers that the host looks after.
const LRS: u64 = 2;

/// Asks whether the RMM speaks RMI 1.0. From now on the probe does then.
pub(crate) fn is_spoken(probe: &mut Probe) -> bool {
    probe.v1 = probe.smc(Fid::VERSION, &[VERSION_1_0]).x(0) == 0;
    probe.v1
}

/// Writes the VMID into the parameters of a realm.
pub(crate) fn name_vmid(params: u64) {
    let number = REALMS.fetch_add(1, Ordering::Relaxed);
    memory::write(params + VMID, 1 + number % VMIDS);
}

/// Delegates the auxiliary granules of a REC, and names them in its parameters.
pub(crate) fn name_aux(probe: &mut Probe, realm: Realm, params: u64) {
    let count = probe.must(Fid::REC_AUX_COUNT, &[realm.rd]).x(1);
    let aux = probe.granules("aux", count);
    memory::write(params + AUX, count);
    for n in 0..count {
        memory::write(params + AUX + 8 * (n + 1), aux + n * GRANULE_SIZE);
    }
}

/// Unmaps a GiB at `area` and destroys its tables.
pub(crate) fn clear(probe: &mut Probe, realm: Realm, area: u64) {
    let (rd, top) = (realm.rd, area + GIB);
    let mut at = area;
    while at < top {
        let next = if area < realm.shape.unprotected() {
            probe.smc(Fid::DATA_DESTROY, &[rd, at]).x(2)
        } else {
            probe.smc(Fid::RTT_UNMAP_UNPROTECTED, &[rd, at, 3]).x(1)
        };
        assert!(next > at, "cannot unmap {at:#x}");
        at = next;
        // A table of level 3 that has just been emptied goes before the next one.
        if at % BLOCK_SIZE == 0 {
            probe.smc(Fid::RTT_DESTROY, &[rd, at - BLOCK_SIZE, 3]);
        }
    }
    probe.must(Fid::RTT_DESTROY, &[rd, area, 2]);
}

/// Has the next entry with the list registers that the last exit has left in the run page.
pub(crate) fn keep_list_registers(run: u64) {
    for offset in (0..LRS * 8).step_by(8) {
        memory::write(
            run + ENTER_LRS + offset,
            memory::read(run + EXIT_LRS + offset),
        );
    }
}

/// Makes the timer's interrupt pending for the next entry, unless it is already. Returns whether it did.
pub(crate) fn inject_timer(run: u64) -> bool {
    if memory::read(run + ENTER_LRS) & gic::LR_STATE != 0 {
        return false;
    }
    memory::write(run + ENTER_LRS, gic::pending(gic::TIMER));
    true
}
