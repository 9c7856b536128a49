// SPDX-License-Identifier: GPL-2.0

//! Which world the guest is in: Linux says so when it finds the Realm Services Interface (RSI).

use crate::{Check, Context, Verdict, World};
use std::{
    fs::OpenOptions,
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path, //
};

/// Linux uses RSI if, and only if, this is meant to be a realm.
pub(crate) fn check(expected: World) -> Check {
    // The device that Linux has in realms only, for the attestation driver.
    let device = Path::new("/sys/devices/platform/arm-cca-dev").exists();
    let log = kernel_log().context("/dev/kmsg")?;
    let line = log
        .lines()
        .find_map(|line| line.split_once("RME: Using RSI").map(|(_, rest)| rest));
    match (expected, line, device) {
        (World::Realm, Some(version), true) => Ok(Verdict::Ok(format!(
            "a realm, RSI{}",
            version.trim_end_matches('\n')
        ))),
        (World::Ordinary, None, false) => Ok(Verdict::Ok("not a realm".into())),
        (World::Realm, ..) => Err("Linux does not use RSI: this is not a realm".into()),
        (World::Ordinary, ..) => Err("Linux uses RSI: this is a realm".into()),
    }
}

/// All that the kernel has said and still knows.
fn kernel_log() -> std::io::Result<String> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    let mut log = String::new();
    let mut record = [0; 8192];
    loop {
        match file.read(&mut record) {
            Ok(0) => return Ok(log),
            Ok(length) => log.push_str(&String::from_utf8_lossy(&record[..length])),
            // The end.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(log),
            // A record was overwritten meanwhile; or a signal came.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
