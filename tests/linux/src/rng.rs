// SPDX-License-Identifier: GPL-2.0

//! The host's random numbers, by way of virtio.

use crate::{Check, Context, Verdict};
use std::{fs, io::Read};

/// Two reads of 32 bytes that differ.
pub(crate) fn check() -> Check {
    let Ok(source) = fs::read_to_string("/sys/class/misc/hw_random/rng_current") else {
        return Ok(Verdict::Skipped("no hardware random number device".into()));
    };
    if !source.starts_with("virtio_rng") {
        return Ok(Verdict::Skipped(format!("it is '{}'", source.trim())));
    }
    let mut device = fs::File::open("/dev/hwrng").context("/dev/hwrng")?;
    let mut read = || -> std::io::Result<[u8; 32]> {
        let mut bytes = [0; 32];
        device.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let (one, other) = (read().context("/dev/hwrng")?, read().context("/dev/hwrng")?);
    if one == other || one == [0; 32] {
        return Err(format!("/dev/hwrng is not random: {one:x?}").into());
    }
    Ok(Verdict::Ok(source.trim().into()))
}
