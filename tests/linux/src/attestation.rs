// SPDX-License-Identifier: GPL-2.0

//! The attestation report, as programs in a guest ask for it: Linux's TSM interface in configfs.

use crate::{Check, Context, Verdict, World};
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
    let provider = fs::read_to_string(report.join("provider")).context("provider")?;
    let mut challenge = [0; CHALLENGE];
    let mut random = File::open("/dev/urandom").context("/dev/urandom")?;
    random.read_exact(&mut challenge).context("/dev/urandom")?;
    fs::write(report.join("inblob"), challenge).context("inblob")?;
    let token = fs::read(report.join("outblob")).context("outblob")?;
    fs::remove_dir(&report).context("rmdir")?;
    if !token.windows(CHALLENGE).any(|part| part == challenge) {
        return Err(format!("{} bytes without the challenge", token.len()).into());
    }
    Ok(Verdict::Ok(format!(
        "{} bytes from {}",
        token.len(),
        provider.trim()
    )))
}
