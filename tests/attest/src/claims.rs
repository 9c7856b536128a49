// SPDX-License-Identifier: GPL-2.0

//! Maps of claims, and what is in them.

use coset::cbor::{self, Value};

use crate::hash::Hash;
use crate::token::Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// The one item of CBOR that is in `bytes`.
///
/// # Errors
///
/// [`Malformed`] if it is none, or something follows.
pub(crate) fn item(name: &str, mut bytes: &[u8]) -> Result<Value> {
    let value = cbor::de::from_reader(&mut bytes);
    let value = value.map_err(|_| Malformed(format!("{name}: not CBOR")))?;
    match bytes {
        [] => Ok(value),
        more => Err(Malformed(format!(
            "{name}: {} bytes follow its end",
            more.len()
        ))),
    }
}

/// What a map with numbers for keys says. Claims that nobody asks for may be anything.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Claims {
    /// Whose they are.
    name: &'static str,
    pairs: Vec<(i128, Value)>,
}

impl Claims {
    /// A map with no key twice.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is something else.
    pub(crate) fn of(name: &'static str, value: Value) -> Result<Self> {
        let Value::Map(map) = value else {
            return Err(Malformed(format!("{name}: not a map")));
        };
        let mut pairs: Vec<(i128, Value)> = Vec::new();
        for (key, value) in map {
            let Value::Integer(key) = key else {
                return Err(Malformed(format!("{name}: a key that is no number")));
            };
            let key = key.into();
            if pairs.iter().any(|(other, _)| *other == key) {
                return Err(Malformed(format!("{name}: claim {key} is there twice")));
            }
            pairs.push((key, value));
        }
        Ok(Self { name, pairs })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.pairs.len()
    }

    /// The claim with this key, which is called `what`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if there is none.
    pub(crate) fn get(&self, key: i128, what: &str) -> Result<&Value> {
        let found = self.pairs.iter().find(|(other, _)| *other == key);
        let found = found.map(|(_, value)| value);
        found.ok_or_else(|| self.wrong(key, what, "is missing"))
    }

    /// One that is bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is something else.
    pub(crate) fn bytes(&self, key: i128, what: &str) -> Result<&[u8]> {
        let value = self.get(key, what)?.as_bytes();
        let value = value.map(Vec::as_slice);
        value.ok_or_else(|| self.wrong(key, what, "is not bytes"))
    }

    /// One that is `N` bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is something else.
    pub(crate) fn array<const N: usize>(&self, key: i128, what: &str) -> Result<[u8; N]> {
        let value = self.bytes(key, what)?;
        let wrong = format!("has {} bytes instead of {N}", value.len());
        let value = value.try_into();
        value.map_err(|_| self.wrong(key, what, &wrong))
    }

    /// One that is text.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is something else.
    pub(crate) fn text(&self, key: i128, what: &str) -> Result<&str> {
        let value = self.get(key, what)?.as_text();
        value.ok_or_else(|| self.wrong(key, what, "is not text"))
    }

    /// One that is the name of a hash algorithm.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is something else.
    pub(crate) fn hash(&self, key: i128, what: &str) -> Result<Hash> {
        let name = self.text(key, what)?;
        let wrong = format!("is {name:?}, which is not known");
        Hash::from_name(name).ok_or_else(|| self.wrong(key, what, &wrong))
    }

    /// What is wrong with a claim.
    pub(crate) fn wrong(&self, key: i128, what: &str, why: &str) -> Malformed {
        Malformed(format!("{}: {what} ({key}) {why}", self.name))
    }
}
