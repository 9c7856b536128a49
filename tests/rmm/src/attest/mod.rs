// SPDX-License-Identifier: GPL-2.0

//! Attestation: the CCA token of a realm.
//!
//! A CCA token is two tokens in one. The platform token says what the machine and its firmware are,
//! and is bound to the key that signs the other; the realm token says what the realm is. Both are
//! CBOR maps of claims in a COSE_Sign1 structure, signed with ECDSA on P-384. The claims are those of
//! the RMM specification and of the CCA platform profile.
//!
//! The keys are in [`keys`], in the source: whatever these tokens say, it proves nothing.

mod cose;
pub mod keys;
mod platform;
mod realm;

use core::convert::Infallible;

use minicbor::data::Tag;
use minicbor::encode::write::{Cursor, EndOfSlice};
use minicbor::Encoder;

pub use realm::Claims;

/// The tag of a CCA token.
const TAG: u64 = 907;
/// Key of the platform token.
const PLATFORM_TOKEN: u32 = 44234;
/// Key of the realm token.
const REALM_TOKEN: u32 = 44241;
/// CoAP content format of both: a CBOR web token with attestation claims.
const EAT_CWT: u32 = 263;

/// Most bytes of the claims of a realm, or of the platform.
pub const MAX_CLAIMS: usize = 1024;
/// Most bytes of the token of either.
const MAX_SIGNED: usize = MAX_CLAIMS + 160;

/// A token, or a part of one, did not fit where it was to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

impl From<minicbor::encode::Error<EndOfSlice>> for TooLong {
    fn from(_: minicbor::encode::Error<EndOfSlice>) -> Self {
        Self
    }
}

impl From<minicbor::encode::Error<Infallible>> for TooLong {
    fn from(error: minicbor::encode::Error<Infallible>) -> Self {
        // Nothing can go wrong but what cannot.
        let _ = error;
        Self
    }
}

/// CBOR that is written into a buffer.
type Cbor<'a> = Encoder<Cursor<&'a mut [u8]>>;

/// What a token looks like. It has changed with RSI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As in RSI 1.0: fewer claims, and the two tokens do not say what they are.
    Rsi1_0,
    /// As in RSI 1.1.
    Rsi1_1,
}

/// Writes CBOR into `buffer` and returns the bytes that were written.
///
/// # Errors
///
/// [`TooLong`] if the buffer is too small.
fn cbor(
    buffer: &mut [u8],
    write: impl FnOnce(&mut Cbor<'_>) -> Result<(), TooLong>,
) -> Result<&[u8], TooLong> {
    let mut encoder = Encoder::new(Cursor::new(&mut *buffer));
    write(&mut encoder)?;
    let len = encoder.into_writer().position();
    buffer.get(..len).ok_or(TooLong)
}

/// Writes the claims of a realm into `buffer`, ready to be signed. Returns their length in bytes.
///
/// # Errors
///
/// [`TooLong`] if the buffer is too small; [`MAX_CLAIMS`] is enough.
pub fn realm_claims(claims: &Claims<'_>, buffer: &mut [u8]) -> Result<usize, TooLong> {
    let written = cbor(buffer, |out| claims.write(out))?;
    Ok(written.len())
}

/// Signs the claims of a realm and writes the whole CCA token into `buffer`. Returns its length in
/// bytes.
///
/// # Errors
///
/// [`TooLong`] if the buffer is too small; 4 KiB are enough.
pub fn sign(realm_claims: &[u8], form: Form, buffer: &mut [u8]) -> Result<usize, TooLong> {
    let mut claims = [0; MAX_CLAIMS];
    let platform_claims = cbor(&mut claims, platform::write)?;
    let mut signed = [[0; MAX_SIGNED]; 2];
    let [platform, realm] = &mut signed;
    let platform = cose::sign1(&keys::platform(), platform_claims, platform)?;
    let realm = cose::sign1(&keys::realm(), realm_claims, realm)?;
    let token = cbor(buffer, |out| {
        out.tag(Tag::new(TAG))?.map(2)?;
        for (key, signed) in [(PLATFORM_TOKEN, platform), (REALM_TOKEN, realm)] {
            out.u32(key)?;
            if form == Form::Rsi1_1 {
                out.array(2)?.u32(EAT_CWT)?;
            }
            out.bytes(signed)?;
        }
        Ok(())
    })?;
    Ok(token.len())
}
