// SPDX-License-Identifier: GPL-2.0

//! COSE_Sign1 (RFC 9052) with ES384.

use minicbor::data::Tag;
use minicbor::encode::write::Write;
use p384::ecdsa::signature::hazmat::PrehashSigner;
use p384::ecdsa::{Signature, SigningKey};
use sha2::{Digest, Sha384};

use super::{cbor, TooLong};

/// The tag of a COSE_Sign1.
const TAG: u64 = 18;
/// The protected header, encoded: the algorithm is ES384.
const PROTECTED: [u8; 4] = [0xa1, 0x01, 0x38, 0x22];
/// What the signature is made for.
const CONTEXT: &str = "Signature1";

/// Signs `payload` with `key`, and writes the structure into `buffer`. Returns the bytes that were
/// written.
///
/// # Errors
///
/// [`TooLong`] if the buffer is too small.
pub(super) fn sign1<'b>(
    key: &SigningKey,
    payload: &[u8],
    buffer: &'b mut [u8],
) -> Result<&'b [u8], TooLong> {
    let signature: Signature = key
        .sign_prehash(&to_be_signed(payload)?)
        .map_err(|_| TooLong)?;
    cbor(buffer, |out| {
        out.tag(Tag::new(TAG))?.array(4)?;
        out.bytes(&PROTECTED)?.map(0)?.bytes(payload)?;
        out.bytes(&signature.to_bytes())?;
        Ok(())
    })
}

/// The hash of the Sig_structure: the context, the protected header, no other data, the payload.
///
/// # Errors
///
/// None that can happen: a hash takes everything.
fn to_be_signed(payload: &[u8]) -> Result<[u8; 48], TooLong> {
    let mut hash = Hash(Sha384::new());
    minicbor::Encoder::new(&mut hash)
        .array(4)?
        .str(CONTEXT)?
        .bytes(&PROTECTED)?
        .bytes(&[])?
        .bytes(payload)?;
    Ok(hash.0.finalize().into())
}

/// Hashes what is written to it.
struct Hash(Sha384);

impl Write for Hash {
    type Error = core::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.update(bytes);
        Ok(())
    }
}
