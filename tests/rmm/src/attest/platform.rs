// SPDX-License-Identifier: GPL-2.0

//! The claims of the platform. On a real machine they come from EL3, which has them from a security
//! controller; here they describe the RMM itself.

use super::keys::{self, COSE_KEY};
use super::realm::hash_name;
use super::{Cbor, TooLong};
use crate::measurement::Algorithm;

const CHALLENGE: u32 = 10;
const INSTANCE_ID: u32 = 256;
const PROFILE: u32 = 265;
const LIFECYCLE: u32 = 2395;
const IMPLEMENTATION_ID: u32 = 2396;
const SOFTWARE: u32 = 2399;
const CONFIG: u32 = 2401;
const ALGORITHM: u32 = 2402;
/// Number of the above.
const COUNT: u64 = 8;

/// Keys of a component of the software.
const COMPONENT_TYPE: u8 = 1;
const COMPONENT_VALUE: u8 = 2;
const COMPONENT_VERSION: u8 = 4;
const COMPONENT_SIGNER: u8 = 5;

const PROFILE_NAME: &str = "tag:arm.com,2023:cca_platform#1.0.0";
/// Not in debug mode, and secured.
const SECURED: u16 = 0x3003;
/// What the platform is: 32 bytes.
const IMPLEMENTATION: &[u8; 32] = b"kvm_arm_rmi, the embedded RMM...";
/// First byte of an instance id that is made of random bytes.
const RANDOM_ID: u8 = 1;
const HASH: Algorithm = Algorithm::Sha256;

/// Bytes of a hash.
type Hash = [u8; 32];

/// # Errors
///
/// None that can happen: the hash has as many bytes.
fn hash(data: &[u8]) -> Result<Hash, TooLong> {
    let measurement = HASH.hash(&[data]);
    measurement.first_chunk().copied().ok_or(TooLong)
}

/// Writes the claims. The challenge is the hash of the key that signs the tokens of realms.
///
/// # Errors
///
/// [`TooLong`] if there is no room for them.
pub(super) fn write(out: &mut Cbor<'_>) -> Result<(), TooLong> {
    let mut buffer = [0; COSE_KEY];
    let realm_key = hash(keys::cose_key(keys::realm().verifying_key(), &mut buffer)?)?;
    let own_key = hash(keys::cose_key(
        keys::platform().verifying_key(),
        &mut buffer,
    )?)?;
    let mut id = [RANDOM_ID; 33];
    for (to, from) in id.iter_mut().skip(1).zip(own_key) {
        *to = from;
    }

    out.map(COUNT)?;
    out.u32(PROFILE)?.str(PROFILE_NAME)?;
    out.u32(CHALLENGE)?.bytes(&realm_key)?;
    out.u32(IMPLEMENTATION_ID)?.bytes(IMPLEMENTATION)?;
    out.u32(INSTANCE_ID)?.bytes(&id)?;
    out.u32(CONFIG)?.bytes(&[])?;
    out.u32(LIFECYCLE)?.u16(SECURED)?;
    out.u32(ALGORITHM)?.str(hash_name(HASH))?;
    out.u32(SOFTWARE)?.array(1)?.map(4)?;
    let version = env!("CARGO_PKG_VERSION");
    out.u8(COMPONENT_TYPE)?.str("RMM")?;
    out.u8(COMPONENT_VALUE)?.bytes(&hash(version.as_bytes())?)?;
    out.u8(COMPONENT_VERSION)?.str(version)?;
    out.u8(COMPONENT_SIGNER)?.bytes(&own_key)?;
    Ok(())
}
