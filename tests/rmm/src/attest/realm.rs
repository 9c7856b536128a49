// SPDX-License-Identifier: GPL-2.0

//! The claims of a realm.

use super::keys::{self, COSE_KEY};
use super::{Cbor, Form, TooLong};
use crate::measurement::{Algorithm, Measurement, RIM, SLOTS};
use crate::rd::{INSTANCE_ID_BYTES, RPV_BYTES};

const CHALLENGE: u32 = 10;
const INSTANCE_ID: u32 = 256;
const PROFILE: u32 = 265;
const RPV: u32 = 44235;
const ALGORITHM: u32 = 44236;
const PUBLIC_KEY: u32 = 44237;
const INITIAL_MEASUREMENT: u32 = 44238;
const EXTENSIBLE_MEASUREMENTS: u32 = 44239;
const PUBLIC_KEY_ALGORITHM: u32 = 44240;
const MEC_POLICY: u32 = 44243;
/// Number of the above.
const COUNT: u64 = 10;
/// The same in [`Form::Rsi1_0`], without the instance id and the MEC policy.
const COUNT_1_0: u64 = 8;

const PROFILE_NAME: &str = "tag:arm.com,2024:realm#2.0.0";
const PROFILE_NAME_1_0: &str = "tag:arm.com,2023:realm#1.0.0";
/// Without memory encryption contexts, all realms share one.
const MEC_SHARED: u8 = 0;

/// What the RMM says about a realm, apart from what it says about all.
pub struct Claims<'a> {
    /// What the token is to look like.
    pub form: Form,
    /// What the realm wants to see in the token.
    pub challenge: &'a [u8; 64],
    /// A number that tells the realm from all others.
    pub instance_id: &'a [u8; INSTANCE_ID_BYTES],
    /// The Realm Personalization Value.
    pub rpv: &'a [u8; RPV_BYTES],
    /// How the realm is measured.
    pub algorithm: Algorithm,
    /// RIM and REMs.
    pub measurements: &'a [Measurement; SLOTS],
}

/// The name of an algorithm in the registry of hash functions.
pub(super) fn hash_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha256 => "sha-256",
        Algorithm::Sha384 => "sha-384",
        Algorithm::Sha512 => "sha-512",
    }
}

impl Claims<'_> {
    /// Writes the claims, and the key that signs them.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if there is no room for them.
    pub(super) fn write(&self, out: &mut Cbor<'_>) -> Result<(), TooLong> {
        let mut buffer = [0; COSE_KEY];
        let key = keys::cose_key(keys::realm().verifying_key(), &mut buffer)?;
        let len = self.algorithm.bytes();
        let measurement = |slot: usize| {
            let value = self.measurements.get(slot).ok_or(TooLong)?;
            value.get(..len).ok_or(TooLong)
        };

        let (count, profile) = match self.form {
            Form::Rsi1_0 => (COUNT_1_0, PROFILE_NAME_1_0),
            Form::Rsi1_1 => (COUNT, PROFILE_NAME),
        };
        out.map(count)?;
        out.u32(CHALLENGE)?.bytes(self.challenge)?;
        if self.form == Form::Rsi1_1 {
            out.u32(INSTANCE_ID)?.bytes(self.instance_id)?;
        }
        out.u32(RPV)?.bytes(self.rpv)?;
        out.u32(PUBLIC_KEY)?.bytes(key)?;
        out.u32(ALGORITHM)?.str(hash_name(self.algorithm))?;
        out.u32(PUBLIC_KEY_ALGORITHM)?
            .str(hash_name(Algorithm::Sha256))?;
        if self.form == Form::Rsi1_1 {
            out.u32(MEC_POLICY)?.u8(MEC_SHARED)?;
        }
        out.u32(PROFILE)?.str(profile)?;
        out.u32(INITIAL_MEASUREMENT)?.bytes(measurement(RIM)?)?;
        let rems = RIM.saturating_add(1)..SLOTS;
        out.u32(EXTENSIBLE_MEASUREMENTS)?.array(rems.len() as u64)?;
        for slot in rems {
            out.bytes(measurement(slot)?)?;
        }
        Ok(())
    }
}
