// SPDX-License-Identifier: GPL-2.0

//! RSI_ATTESTATION_TOKEN_INIT and RSI_ATTESTATION_TOKEN_CONTINUE: the realm fetches its token.
//!
//! INIT takes the claims down as they are, into a granule of the REC. The first CONTINUE signs them, in
//! the same granule, and then each copies out as much as the realm has room for.

use kvm_arm_rmi::rmi::GRANULE_SIZE;
use zerocopy::IntoBytes;

use super::{Answer, ERROR_INPUT, ERROR_STATE, ERROR_UNKNOWN, INCOMPLETE, SUCCESS};
use crate::attest::{self, Claims, Form, TooLong, MAX_CLAIMS};
use crate::granule::Aux;
use crate::platform::{GranuleData, Platform};
use crate::rec::exit::Reason;
use crate::rec::{Running, Token};

/// Registers from x1 on that hold the challenge.
const CHALLENGE: core::ops::RangeInclusive<usize> = 1..=8;

impl<P: Platform> Running<'_, '_, P> {
    /// RSI_ATTESTATION_TOKEN_INIT. x1 to x8: the challenge, 64 bytes.
    ///
    /// Returns how many bytes the token may have. Whatever was under way is forgotten.
    pub(super) fn attest_token_init(&mut self) -> Answer {
        self.rec.token = Token::default();
        let gprs = self.rec.context.gprs;
        let challenge = gprs.get(CHALLENGE).map(IntoBytes::as_bytes);
        let Some(challenge) = challenge.and_then(|bytes| bytes.try_into().ok()) else {
            return Answer::code(ERROR_UNKNOWN);
        };
        let mut buffer = [0; MAX_CLAIMS];
        let form = self.form();
        let len = self.with_rd(|rd| {
            let claims = Claims {
                form,
                challenge,
                instance_id: &rd.instance_id,
                rpv: &rd.rpv,
                algorithm: rd.algorithm(),
                measurements: &rd.measurements,
            };
            attest::realm_claims(&claims, &mut buffer)
        });
        let Ok(len) = len else {
            return Answer::code(ERROR_UNKNOWN);
        };
        self.with_token(|token| {
            for (to, from) in token.as_mut_bytes().iter_mut().zip(buffer) {
                *to = from;
            }
        });
        self.rec.token.claims = u64::try_from(len).unwrap_or(0);
        Answer::Return([SUCCESS, GRANULE_SIZE, 0, 0])
    }

    /// RSI_ATTESTATION_TOKEN_CONTINUE. x1: protected IPA of a granule. x2: offset in it. x3: bytes of room
    /// there.
    ///
    /// Returns how many bytes of the token were written; INCOMPLETE says that there are more, or that
    /// an interrupt came first. ERROR_INPUT: the IPA is not granule aligned or not protected, the
    /// room is not within the granule, or it is EMPTY. ERROR_STATE: the realm has not asked for a
    /// token, or has all of it.
    pub(super) fn attest_token_continue(&mut self) -> Answer {
        let (ipa, offset, size) = (self.gpr(1), self.gpr(2), self.gpr(3));
        let inside = offset < GRANULE_SIZE
            && offset
                .checked_add(size)
                .is_some_and(|end| end <= GRANULE_SIZE);
        let aligned = ipa & GRANULE_SIZE.wrapping_sub(1) == 0;
        if !aligned || !inside || !self.realm.stage2.is_protected(ipa) {
            return Answer::code(ERROR_INPUT);
        }

        if self.rec.token.len == 0 {
            if self.rec.token.claims == 0 {
                return Answer::code(ERROR_STATE);
            }
            if self.sign_token().is_err() {
                return Answer::code(ERROR_UNKNOWN);
            }
            if self.rmm.platform().interrupt_pending() {
                self.exit.set_reason(Reason::Irq);
                return Answer::ReturnAndExit([INCOMPLETE, 0, 0, 0]);
            }
        }
        self.copy_token(ipa, offset, size)
    }

    /// What the realm's tokens look like.
    fn form(&self) -> Form {
        match self.rmm.is_v1() {
            true => Form::Rsi1_0,
            false => Form::Rsi1_1,
        }
    }

    /// Replaces the claims by the token.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if it does not fit in the granule.
    fn sign_token(&mut self) -> Result<(), TooLong> {
        let claims = usize::try_from(self.rec.token.claims).unwrap_or(0);
        let form = self.form();
        let len = self.with_token(|token| {
            let bytes = token.as_mut_bytes();
            let mut buffer = [0; MAX_CLAIMS];
            let copy = buffer.get_mut(..claims).ok_or(TooLong)?;
            copy.copy_from_slice(bytes.get(..claims).ok_or(TooLong)?);
            attest::sign(copy, form, bytes)
        })?;
        self.rec.token.len = u64::try_from(len).unwrap_or(0);
        Ok(())
    }

    /// Copies what fits of the token into the realm's memory.
    fn copy_token(&mut self, ipa: u64, offset: u64, size: u64) -> Answer {
        let token = self.rec.token.clone();
        let left = token.len.saturating_sub(token.copied);
        let count = left.min(size);
        let [from, to, count] =
            [token.copied, offset, count].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let copied = self.memory(ipa, |data| {
            self.with_token(|token| {
                let from = token.as_bytes().get(from..)?.get(..count)?;
                let to = data.as_mut_bytes().get_mut(to..)?.get_mut(..count)?;
                to.copy_from_slice(from);
                u64::try_from(count).ok()
            })
        });
        match copied {
            Ok(Some(count)) => {
                self.rec.token.copied = token.copied.saturating_add(count);
                if count < left {
                    return Answer::Return([INCOMPLETE, count, 0, 0]);
                }
                self.rec.token = Token::default();
                Answer::Return([SUCCESS, count, 0, 0])
            }
            Ok(None) => Answer::code(ERROR_UNKNOWN),
            Err(miss) => miss.into(),
        }
    }

    /// Runs `f` on the granule that the token is in.
    fn with_token<R>(&self, f: impl FnOnce(&mut GranuleData) -> R) -> R {
        let pa = self.rec.token_granule();
        let mut granule = self.rmm.granules().own::<Aux>(pa);
        self.rmm.platform().with(&mut granule, f)
    }
}
