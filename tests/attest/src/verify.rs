// SPDX-License-Identifier: GPL-2.0

//! Whether a token says what it should, and who says it.

use std::fmt;

use p384::ecdsa::VerifyingKey;

use crate::hash::Hash;
use crate::token::Token;

/// What a token should say. What is `None` may be anything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Keys of platforms that are trusted; one of them has signed the platform's claims. If it is `None`,
    /// all that is known is that the realm and the platform belong together.
    pub platform_keys: Option<Vec<VerifyingKey>>,
    /// What the realm was asked to show.
    pub challenge: Option<[u8; 64]>,
    /// How the realm is measured.
    pub hash: Option<Hash>,
    /// Its initial measurement.
    pub rim: Option<Vec<u8>>,
    /// Its personalisation value.
    pub rpv: Option<[u8; 64]>,
}

/// What is wrong with a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// No key that is trusted has signed the platform's claims.
    PlatformSignature,
    /// The platform is in this phase of its life, in which its claims mean nothing.
    Lifecycle(u16),
    /// The platform does not vouch for the key in the realm's claims.
    Binding,
    /// That key has not signed them.
    RealmSignature,
    /// The challenge is this one.
    Challenge([u8; 64]),
    /// The realm is measured in this way.
    Hash(Hash),
    /// The initial measurement is this one.
    Rim(Vec<u8>),
    /// A REM of this number is not zero: the realm has extended it.
    Rem(usize),
    /// The personalisation value is this one.
    Rpv([u8; 64]),
}

impl fmt::Display for Wrong {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlatformSignature => {
                to.write_str("the platform token is not signed by a platform that is trusted")
            }
            Self::Lifecycle(phase) => write!(
                to,
                "the platform is not secured: its lifecycle is {phase:#06x}"
            ),
            Self::Binding => {
                to.write_str("the platform token does not vouch for the key in the realm token")
            }
            Self::RealmSignature => {
                to.write_str("the realm token is not signed by the key that it names")
            }
            Self::Challenge(is) => write!(to, "the challenge is {}", hex(is)),
            Self::Hash(is) => write!(to, "the realm is measured by {}", is.name()),
            Self::Rim(is) => write!(to, "the initial measurement is {}", hex(is)),
            Self::Rem(number) => write!(to, "extensible measurement {number} is not zero"),
            Self::Rpv(is) => write!(to, "the personalisation value is {}", hex(is)),
        }
    }
}

/// Bytes as people compare them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Phases of a platform's life in which it is secured.
const SECURED: std::ops::RangeInclusive<u16> = 0x3000..=0x30ff;

impl Token {
    /// Everything in which the token is not what it should be: who has signed it, what was wanted, and
    /// that the realm has not extended its measurements.
    pub fn check(&self, wanted: &Wanted) -> Vec<Wrong> {
        let (platform, realm) = (&self.platform, &self.realm);
        let mut wrong = Vec::new();
        let mut unless = |holds: bool, what: Wrong| {
            if !holds {
                wrong.push(what);
            }
        };
        if let Some(keys) = &wanted.platform_keys {
            let signed = keys.iter().any(|key| self.platform_signed_by(key));
            unless(signed, Wrong::PlatformSignature);
        }
        unless(
            SECURED.contains(&platform.lifecycle),
            Wrong::Lifecycle(platform.lifecycle),
        );
        let key = realm.public_key_hash.of(&realm.public_key);
        unless(key == platform.challenge, Wrong::Binding);
        unless(self.realm_signed_by_its_key(), Wrong::RealmSignature);

        unless(
            wanted.challenge.is_none_or(|it| it == realm.challenge),
            Wrong::Challenge(realm.challenge),
        );
        unless(
            wanted.hash.is_none_or(|it| it == realm.hash),
            Wrong::Hash(realm.hash),
        );
        unless(
            wanted.rim.as_ref().is_none_or(|it| *it == realm.rim),
            Wrong::Rim(realm.rim.clone()),
        );
        unless(
            wanted.rpv.is_none_or(|it| it == realm.rpv),
            Wrong::Rpv(realm.rpv),
        );
        for (number, rem) in realm.rems.iter().enumerate() {
            unless(rem.iter().all(|byte| *byte == 0), Wrong::Rem(number));
        }
        wrong
    }
}
