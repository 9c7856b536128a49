// SPDX-License-Identifier: GPL-2.0

//! Whether an attestation token is what it should be.

use std::fs;

use realm_attest::hash::Hash;
use realm_attest::token::{platform_key, Malformed, Token};
use realm_attest::verify::{hex, Wanted};

use crate::cli::Verify;
use crate::error::{Error, Result, Trying};

/// Carries out `verify`: returns what the token says, in lines of a name and a value, and all that is
/// wrong with it.
///
/// # Errors
///
/// A file cannot be read, or is no token or no key.
pub fn main(options: &Verify) -> Result<(String, Vec<String>)> {
    let keys = options.platform_keys.iter().map(|path| {
        let pem = fs::read_to_string(path).trying(path.display())?;
        platform_key(&pem).map_err(|why| Error::new(path.display(), why))
    });
    let keys: Vec<_> = keys.collect::<Result<_>>()?;
    let wanted = Wanted {
        platform_keys: (!options.any_platform).then_some(keys),
        challenge: options.challenge.map(|it| it.0),
        hash: options.hash.map(Hash::from),
        rim: options.rim.as_ref().map(|it| it.0.clone()),
        rpv: options.rpv.map(|it| it.0),
    };
    let bytes = fs::read(&options.token).trying(options.token.display())?;
    let token =
        Token::open(&bytes).map_err(|why: Malformed| Error::new(options.token.display(), why))?;
    let realm = &token.realm;
    let says = format!(
        "hash {}\nrim {}\nrpv {}\nchallenge {}\n",
        realm.hash.name(),
        hex(&realm.rim),
        hex(&realm.rpv),
        hex(&realm.challenge)
    );
    let wrong = token.check(&wanted);
    Ok((says, wrong.iter().map(ToString::to_string).collect()))
}
