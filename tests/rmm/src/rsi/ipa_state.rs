// SPDX-License-Identifier: GPL-2.0

//! RSI_IPA_STATE_GET and RSI_IPA_STATE_SET: what the realm may expect of its memory.

use kvm_arm_rmi::rmi::GRANULE_SIZE;

use super::{Answer, ERROR_INPUT, SUCCESS};
use crate::platform::Platform;
use crate::rec::exit::{self, Enter, Reason};
use crate::rec::{RipasChange, Running};
use crate::rtt::Ripas;

/// `RsiResponse`: the host has done what it was asked.
const ACCEPT: u64 = 0;
/// `RsiResponse`: the host has refused.
const REJECT: u64 = 1;

impl<P: Platform> Running<'_, '_, P> {
    /// True if `base..top` is a range of whole granules, not empty, all of them protected.
    fn is_protected_range(&self, base: u64, top: u64) -> bool {
        let aligned = (base | top) & GRANULE_SIZE.wrapping_sub(1) == 0;
        aligned && base < top && top <= self.realm.stage2.protected_size()
    }

    /// RSI_IPA_STATE_SET. x1, x2: base and top IPA. x3: the RIPAS to set, EMPTY or RAM. x4: 1 if what
    /// is DESTROYED may be set as well.
    ///
    /// Exits to the host, which carries it out with RTT_SET_RIPAS as far as it likes. Returns the first
    /// IPA that was not set, and whether the host has refused to go on. ERROR_INPUT: the RIPAS is
    /// another one; or the range is empty, turned over, not made of granules, or not protected.
    pub(super) fn ipa_state_set(&mut self) -> Answer {
        let (base, top, value) = (self.gpr(1), self.gpr(2), self.gpr(3) & 0xffff_ffff);
        if value > Ripas::Ram as u64 || !self.is_protected_range(base, top) {
            return Answer::code(ERROR_INPUT);
        }
        self.rec.ripas = RipasChange {
            base,
            top,
            next: base,
            value,
            destroyed: self.gpr(4) & 0xffff_ffff,
        };
        self.exit.set_reason(Reason::RipasChange);
        self.exit.ripas_base = base;
        self.exit.ripas_top = top;
        self.exit.ripas_value = value;
        Answer::ReturnAndExit([SUCCESS, top, 0, 0])
    }

    /// Tells the realm how far the host has carried out a change, if one is pending.
    pub(crate) fn complete_ripas(&mut self, enter: &Enter) {
        let change = self.rec.ripas.clone();
        if change.base == change.top {
            return;
        }
        let short = change.value == Ripas::Ram as u64 && change.next != change.top;
        let rejected = short && enter.has(exit::RIPAS_RESPONSE);
        self.set_gpr(0, SUCCESS);
        self.set_gpr(1, change.next);
        self.set_gpr(2, if rejected { REJECT } else { ACCEPT });
        self.rec.ripas.base = 0;
        self.rec.ripas.top = 0;
    }

    /// RSI_IPA_STATE_GET. x1, x2: base and top IPA.
    ///
    /// Returns up to where the RIPAS is the same as at the base, as far as one table tells, and that
    /// RIPAS. ERROR_INPUT: the range is empty, turned over, not made of granules, or not protected.
    pub(super) fn ipa_state_get(&mut self) -> Answer {
        let (base, top) = (self.gpr(1), self.gpr(2));
        if !self.is_protected_range(base, top) {
            return Answer::code(ERROR_INPUT);
        }
        let (ripas, end) = self.rmm.ripas(&self.realm.stage2, base..top);
        Answer::Return([SUCCESS, end, ripas as u64, 0])
    }
}
