// SPDX-License-Identifier: GPL-2.0

//! What the guest is told of its machine, as far as the VMM's arguments say it.

use std::fs::File;
use std::io::Read;

use crate::args::{self, Args};
use crate::error::{Result, Trying};
use crate::fdt::{Machine, Seed};
use crate::virtio::rng::RANDOM;

/// How many virtio devices a guest has.
pub fn virtio_count(args: &Args) -> usize {
    args::OTHER_VIRTIO + args.disks.len()
}

/// What the guest is told. Where its initial RAM disk will be is not known yet.
///
/// # Errors
///
/// There are no random bytes for an ordinary guest.
pub fn machine(args: &Args) -> Result<Machine> {
    Ok(Machine {
        realm: args.is_realm(),
        cpus: args.cpus,
        memory: args.memory,
        cmdline: args.full_cmdline(),
        initrd: 0..0,
        virtio: virtio_count(args),
        transport: args.transport,
        pmu: args.pmu.is_some(),
        seed: match args.is_realm() {
            true => None,
            false => Some(seed()?),
        },
    })
}

fn seed() -> Result<Seed> {
    let (mut kaslr, mut rng) = ([0; 8], [0; 32]);
    let mut random = File::open(RANDOM).trying(RANDOM)?;
    random.read_exact(&mut kaslr).trying(RANDOM)?;
    random.read_exact(&mut rng).trying(RANDOM)?;
    Ok(Seed {
        kaslr: u64::from_le_bytes(kaslr),
        rng,
    })
}
