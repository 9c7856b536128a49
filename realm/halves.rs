// SPDX-License-Identifier: GPL-2.0

//! Which half of its IPA space a realm may use a slot's memory in: the one place that decides.
//!
//! A slot with guest_memfd has memory for both halves. There are two kinds of VMM:
//!
//! * One sets memory attributes, which say of each page in which half it may be used. An access to the
//!   other half ends in user space.
//! * One never sets any. Then either half may be used at any time: private memory is what the file has,
//!   shared memory what is mapped at the slot's address, and user space gives back what it does not want to
//!   be there twice. It is asked about each RIPAS change, and agrees by running the vCPU again.
//!
//! Which kind it is shows when the realm is made: by then the first has said what is private, or could
//! not populate it. It stays so.

use super::vm::Vm;
use crate::sys::{kvm::Kvm, sync::atomic::Ordering};
use core::ops::Range;

// What `Vm::attributes` has when that is settled; 0 before.
const BY_ATTRIBUTES: u32 = 1;
const BY_FILE: u32 = 2;

/// What says which half may be used where.
#[derive(Clone, Copy)]
pub struct Halves<'a> {
    kvm: &'a Kvm,
    by_attributes: bool,
}

impl Halves<'_> {
    /// True if memory attributes say it.
    #[inline]
    pub fn by_attributes(&self) -> bool {
        self.by_attributes
    }

    /// True if granule `gfn` may be private, by itself or by attributes, which may change at any time.
    #[inline]
    pub fn may_be_private(&self, gfn: u64) -> bool {
        !self.by_attributes || self.kvm.is_private(gfn)
    }

    /// True if granule `gfn` may be shared, as above.
    #[inline]
    pub fn may_be_shared(&self, gfn: u64) -> bool {
        !self.by_attributes || !self.kvm.is_private(gfn)
    }

    /// True if all of `gfns` may be private, or shared, as above.
    #[inline]
    pub fn may_all_be(&self, gfns: &Range<u64>, private: bool) -> bool {
        !self.by_attributes || self.kvm.are(gfns, private)
    }
}

impl Vm {
    /// What says which half may be used where. Until the realm is made that may change.
    #[inline]
    pub fn halves(&self) -> Halves<'_> {
        // It is written once, before there is a realm; before that nobody minds which of two it is.
        let by_attributes = match self.attributes.load(Ordering::Relaxed) {
            BY_ATTRIBUTES => true,
            BY_FILE => false,
            _ => self.kvm.has_attributes(),
        };
        Halves {
            kvm: &self.kvm,
            by_attributes,
        }
    }

    /// The realm has just been made: what [`Self::halves`] says will not change any more.
    pub(super) fn settle_attributes(&self) {
        let settled = match self.kvm.has_attributes() {
            true => BY_ATTRIBUTES,
            false => BY_FILE,
        };
        self.attributes.store(settled, Ordering::Relaxed);
    }
}
