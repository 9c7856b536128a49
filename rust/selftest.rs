// SPDX-License-Identifier: GPL-2.0

//! `kvm_arm_rmi/selftest/` in debugfs: moving memory to the realm world and back by hand.
//!
//! | file | write | read |
//! |---|---|---|
//! | `cycle` | `n`: delegates n MiB, then takes them back; an error if not all of it came back | |
//! | `hold` | `n`: delegates `1 << n` granules and keeps them; `-`: takes them back | what is held |

use crate::{
    host::Host,
    rmi::{Delegated, GranuleRange, GRANULE_SIZE}, //
};
use kernel::{
    debugfs::{Dir, Scope},
    fmt,
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
    uaccess::UserSliceReader, //
};

/// Memory is moved in blocks of `1 << 9` granules, which every host has plenty of.
const BLOCK_ORDER: u32 = 9;
const BLOCK_SIZE: u64 = GRANULE_SIZE << BLOCK_ORDER;

/// The most that `cycle` moves, in MiB.
const MAX_MIB: u64 = 1 << 14;

/// What the files work on.
#[pin_data(PinnedDrop)]
pub(crate) struct SelfTest {
    host: Arc<Host>,
    #[pin]
    held: Mutex<Option<GranuleRange<Delegated>>>,
}

/// Makes the directory.
pub(crate) fn dir<'a>(
    parent: &'a Dir,
    host: &'a Arc<Host>,
) -> impl PinInit<Scope<SelfTest>, Error> + 'a {
    let data = try_pin_init!(SelfTest {
        host: host.clone(),
        held <- new_mutex!(None),
    }? Error);
    parent.scope(data, c"selftest", |data, dir| {
        dir.write_only_callback_file(c"cycle", data, &write_cycle);
        dir.read_write_callback_file(c"hold", data, &show_held, &write_hold);
    })
}

fn write_cycle(data: &SelfTest, input: &mut UserSliceReader) -> Result {
    let mib = word(input, |text| text.parse::<u64>().ok())?;
    if mib > MAX_MIB {
        return Err(EINVAL);
    }
    let mut held = KVec::new();
    let mut result = Ok(());
    for _ in 0..(mib << 20).div_ceil(BLOCK_SIZE) {
        result = data
            .host
            .alloc_delegated(BLOCK_ORDER)
            .and_then(|granules| held.push(granules, GFP_KERNEL).map_err(Error::from));
        if result.is_err() {
            break;
        }
    }
    for granules in held {
        result = result.and(data.host.free_delegated(granules));
    }
    result
}

/// What is written to `hold`.
enum Hold {
    Granules(u32),
    Nothing,
}

fn write_hold(data: &SelfTest, input: &mut UserSliceReader) -> Result {
    let hold = word(input, |text| match text {
        "-" => Some(Hold::Nothing),
        order => order.parse().ok().map(Hold::Granules),
    })?;
    let mut held = data.held.lock();
    match (hold, held.take()) {
        (Hold::Granules(order), None) if order <= BLOCK_ORDER => {
            *held = Some(data.host.alloc_delegated(order)?);
            Ok(())
        }
        (Hold::Nothing, Some(granules)) => data.host.free_delegated(granules),
        (_, unchanged) => {
            *held = unchanged;
            Err(EINVAL)
        }
    }
}

fn show_held(data: &SelfTest, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match &*data.held.lock() {
        Some(granules) => writeln!(f, "{}", granules.range()),
        None => writeln!(f, "-"),
    }
}

#[pinned_drop]
impl PinnedDrop for SelfTest {
    fn drop(self: Pin<&mut Self>) {
        if let Some(granules) = self.held.lock().take() {
            // A failure is logged and counted; there is nobody left to tell.
            let _ = self.host.free_delegated(granules);
        }
    }
}

/// Reads the one word that was written.
fn word<T>(input: &mut UserSliceReader, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
    let mut buffer = [0; 16];
    let text = buffer.get_mut(..input.len()).ok_or(EINVAL)?;
    input.read_slice(text)?;
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    parse(text.trim()).ok_or(EINVAL)
}
