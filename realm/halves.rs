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
use core::ops::Range;

impl Vm {
    /// True if memory attributes say which half may be used where.
    pub fn has_attributes(&self) -> bool {
        self.attributes
            .copy()
            .unwrap_or_else(|| self.kvm.has_attributes())
    }

    /// The realm has just been made: what [`Self::has_attributes`] says will not change any more.
    pub(super) fn settle_attributes(&self) {
        self.attributes.populate(self.kvm.has_attributes());
    }

    /// True if granule `gfn` may be private, by itself or by attributes, which may change at any time.
    pub fn may_be_private(&self, gfn: u64) -> bool {
        !self.has_attributes() || self.kvm.is_private(gfn)
    }

    /// True if granule `gfn` may be shared, as above.
    #[inline]
    pub fn may_be_shared(&self, gfn: u64) -> bool {
        !self.has_attributes() || !self.kvm.is_private(gfn)
    }

    /// True if all of `gfns` may be private, or shared, as above.
    pub fn may_all_be(&self, gfns: &Range<u64>, private: bool) -> bool {
        !self.has_attributes() || self.kvm.are(gfns, private)
    }
}
