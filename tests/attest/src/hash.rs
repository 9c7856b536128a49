// SPDX-License-Identifier: GPL-2.0

//! Hash algorithms.

use sha2::{Digest, Sha256, Sha384, Sha512};

/// How a realm is measured; the numbers are those of `RmiHashAlgorithm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hash {
    /// SHA-256.
    Sha256 = 0,
    /// SHA-512.
    Sha512 = 1,
    /// SHA-384.
    Sha384 = 2,
}

impl Hash {
    /// All of them, by their numbers.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Sha384];

    /// The one with this number.
    pub fn from_raw(raw: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| *hash as u64 == raw)
    }

    /// The one with this [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.name() == name)
    }

    /// Its name in IANA's registry of hash functions, which tokens use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Bytes of a hash.
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The hash of `bytes`.
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}
