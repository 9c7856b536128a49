// SPDX-License-Identifier: GPL-2.0

//! RSI_HOST_CALL: the realm and the host exchange registers through a structure in the realm's
//! memory.

use kvm_arm_rmi::rmi::GRANULE_SIZE;

use super::{Answer, ERROR_INPUT, SUCCESS};
use crate::platform::{GranuleData, Platform};
use crate::rec::exit::{Enter, Reason};
use crate::rec::{Flow, Miss, Running};

/// Bytes of `RsiHostCall`, which is aligned to as many: a number, and x0 to x30.
const BYTES: u64 = 0x100;
/// Word of the structure where the registers start.
const GPRS_WORD: usize = 1;

/// The words of the structure at `ipa` in its granule.
fn structure(data: &mut GranuleData, ipa: u64) -> &mut [u64] {
    let offset = ipa & GRANULE_SIZE.wrapping_sub(1);
    let first = usize::try_from(offset / 8).unwrap_or(usize::MAX);
    data.get_mut(first..).unwrap_or_default()
}

impl<P: Platform> Running<'_, '_, P> {
    /// RSI_HOST_CALL. x1: protected IPA of the structure.
    ///
    /// Exits to the host with the contents of the structure; at the next entry, what the host answers
    /// goes into it. ERROR_INPUT: the IPA is not aligned to the size of the structure, not protected,
    /// or EMPTY.
    pub(super) fn host_call(&mut self) -> Answer {
        let ipa = self.gpr(1);
        if ipa & BYTES.wrapping_sub(1) != 0 || !self.realm.stage2.is_protected(ipa) {
            return Answer::code(ERROR_INPUT);
        }
        let mut gprs = self.exit.gprs;
        let imm = self.memory(page(ipa), |data| {
            let words = structure(data, ipa);
            for (to, from) in gprs.iter_mut().zip(words.iter().skip(GPRS_WORD)) {
                *to = *from;
            }
            words.first().copied().unwrap_or(0) & 0xffff_ffff
        });
        match imm {
            Ok(imm) => {
                self.exit.imm = imm;
                self.exit.plane = 0;
                self.exit.gprs = gprs;
                self.exit.set_reason(Reason::HostCall);
                self.rec.set_host_call_pending(true);
                Answer::Exit
            }
            Err(miss) => miss.into(),
        }
    }

    /// Gives the realm what the host has answered, if a host call is pending. The REC does not run if
    /// the structure has lost its memory: it exits as if the realm had accessed it.
    pub(crate) fn complete_host_call(&mut self, enter: &Enter) -> Flow {
        if !self.rec.is_host_call_pending() {
            return Flow::Resume;
        }
        let ipa = self.gpr(1);
        let done = self.memory(page(ipa), |data| {
            let words = structure(data, ipa).iter_mut().skip(GPRS_WORD);
            for (to, from) in words.zip(enter.gprs) {
                *to = from;
            }
        });
        match done {
            Ok(()) => self.set_gpr(0, SUCCESS),
            // The realm has given the memory up itself: the answer is lost, and x0 stays.
            Err(Miss::Empty) => {}
            Err(Miss::Fault(level)) => {
                self.exit_for_memory(ipa, level);
                return Flow::Exit;
            }
        }
        self.rec.set_host_call_pending(false);
        Flow::Resume
    }
}

/// The granule that `ipa` is in.
fn page(ipa: u64) -> u64 {
    ipa & !GRANULE_SIZE.wrapping_sub(1)
}
