// SPDX-License-Identifier: GPL-2.0

//! The keys that sign tokens. They are test keys that everybody knows.
//!
//! On a real machine, EL3 has the platform's key and derives the realm attestation key (RAK) at each
//! boot.

use p384::ecdsa::{SigningKey, VerifyingKey};

use super::{cbor, TooLong};

/// Private keys: big-endian numbers that are below the order of the curve because they are ASCII.
const REALM: &[u8; 48] = b"kvm_arm_rmi test key: realm attestation key, RAK";
const PLATFORM: &[u8; 48] = b"kvm_arm_rmi test key: initial attestation, IAK..";

/// Bytes of a public key as a COSE_Key, at most.
pub const COSE_KEY: usize = 128;

const KEY_TYPE: i8 = 1;
const EC2: u8 = 2;
const CURVE: i8 = -1;
const P384: u8 = 2;
const X: i8 = -2;
const Y: i8 = -3;

/// The realm attestation key.
pub fn realm() -> SigningKey {
    key(REALM)
}

/// The key of the platform.
pub fn platform() -> SigningKey {
    key(PLATFORM)
}

fn key(private: &[u8; 48]) -> SigningKey {
    SigningKey::from_bytes(private.into()).unwrap_or_else(|_| no_key())
}

/// # Panics
///
/// Always: the constants of this module are no keys.
#[allow(clippy::panic, reason = "see above; the tests sign with both")]
fn no_key() -> SigningKey {
    panic!("a test key is not a number below the order of the curve");
}

/// Writes a public key as a COSE_Key, and returns the bytes that were written.
///
/// # Errors
///
/// [`TooLong`] if the buffer is too small; [`COSE_KEY`] is enough.
pub fn cose_key<'b>(key: &VerifyingKey, buffer: &'b mut [u8]) -> Result<&'b [u8], TooLong> {
    let point = key.to_encoded_point(false);
    let (Some(x), Some(y)) = (point.x(), point.y()) else {
        return Err(TooLong);
    };
    cbor(buffer, |out| {
        out.map(4)?;
        out.i8(KEY_TYPE)?.u8(EC2)?;
        out.i8(CURVE)?.u8(P384)?;
        out.i8(X)?.bytes(x)?;
        out.i8(Y)?.bytes(y)?;
        Ok(())
    })
}
