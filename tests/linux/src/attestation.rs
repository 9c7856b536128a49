// SPDX-License-Identifier: GPL-2.0

//! The attestation report, as programs in a guest ask for it: Linux's TSM interface in configfs.

use crate::{Check, Context, Error, Verdict, World};
use std::{
    fs::{self, File},
    io::Read,
    path::Path, //
};

const REPORTS: &str = "/sys/kernel/config/tsm/report";
const CHALLENGE: usize = 64;

/// A report for a random challenge can be read, and has the challenge in it.
pub(crate) fn check(world: World) -> Check {
    if !Path::new(REPORTS).exists() {
        return Ok(Verdict::Skipped(format!("this kernel has no {REPORTS}")));
    }
    let report = Path::new(REPORTS).join("realm-check");
    match (fs::create_dir(&report), world) {
        (Ok(()), World::Realm) => {}
        (Ok(()), World::Ordinary) => return Err("a guest that is no realm has a report".into()),
        (Err(error), World::Realm) => return Err(format!("{}: {error}", report.display()).into()),
        (Err(_), World::Ordinary) => return Ok(Verdict::Skipped("only realms have one".into())),
    }
    let mut challenge = [0; CHALLENGE];
    let mut random = File::open("/dev/urandom").context("/dev/urandom")?;
    random.read_exact(&mut challenge).context("/dev/urandom")?;
    let provider = fs::read_to_string(report.join("provider")).context("provider")?;
    let token = fetch(&report, &challenge)?;
    if !token.windows(CHALLENGE).any(|part| part == challenge) {
        return Err(format!("{} bytes without the challenge", token.len()).into());
    }
    Ok(Verdict::Ok(format!(
        "{} bytes from {}",
        token.len(),
        provider.trim()
    )))
}

/// Has a report made, and removes its directory.
fn fetch(report: &Path, challenge: &[u8]) -> Result<Vec<u8>, Error> {
    fs::write(report.join("inblob"), challenge).context("inblob")?;
    let token = fs::read(report.join("outblob")).context("outblob")?;
    fs::remove_dir(report).context("rmdir")?;
    Ok(token)
}

/// Prints the token that this realm shows to whoever sends `challenge`, 64 bytes; both in hexadecimal.
pub(crate) fn show(challenge: &str) -> Result<(), Error> {
    let digits = challenge.as_bytes();
    let bytes = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).context("the challenge")?;
        u8::from_str_radix(pair, 16).context("the challenge")
    });
    let bytes: Vec<u8> = bytes.collect::<Result<_, Error>>()?;
    if digits.len() != 2 * CHALLENGE {
        return Err(format!("the challenge is not {CHALLENGE} bytes").into());
    }
    let report = Path::new(REPORTS).join("show");
    fs::create_dir(&report).context(report.display())?;
    let token = fetch(&report, &bytes)?;
    let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("token: {token}");
    Ok(())
}
