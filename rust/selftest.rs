// SPDX-License-Identifier: GPL-2.0

//! `kvm_arm_rmi/selftest/` in debugfs: moving memory to the realm world and back by hand, and an RMM
//! that goes wrong.
//!
//! | file | write | read |
//! |---|---|---|
//! | `cycle` | `n`: delegates n MiB, then takes them back; an error if not all of it came back | |
//! | `hold` | `n`: delegates `1 << n` granules and keeps them; `-`: takes them back | what is held |
//! | `edge` | `1`: delegates a granule, and loads words that begin before it and end in it; an error unless these have zeroes of it | |
//! | `memory` | `base,size`, in hexadecimal: adds this memory to the host, as a new block of it | |
//! | `fault` | `x1,x2,...`: has an RMM that is built for it misbehave, see `tests/rmm/src/fault.rs` | |

use crate::{
    realm::host::{alloc_delegated, errno, undelegate, Host},
    rmi::{Conduit, Delegated, GranuleRange, Regs, GRANULE_SIZE},
    sys::{
        debugfs::Spec,
        kernel::{
            fmt,
            new_mutex,
            prelude::*,
            sync::{Arc, Mutex}, //
        },
        memory,
        platform, //
    }, //
};

/// Memory is moved in blocks of `1 << 9` granules, which every host has plenty of.
const BLOCK_ORDER: u32 = 9;
const BLOCK_SIZE: u64 = GRANULE_SIZE << BLOCK_ORDER;

/// The most that `cycle` moves, in MiB.
const MAX_MIB: u64 = 1 << 14;

/// The call that an RMM with fault injection takes, in hexadecimal as `fault` takes its arguments; to
/// others it is unknown.
const FAULT: u64 = 0xc400_02cf;
const FAULT_ARGUMENTS: usize = 9;

/// What the files work on.
#[pin_data(PinnedDrop)]
pub(crate) struct SelfTest {
    host: Arc<Host>,
    #[pin]
    held: Mutex<Option<GranuleRange<Delegated>>>,
}

impl SelfTest {
    /// Holds nothing.
    pub(crate) fn new(host: &Arc<Host>) -> Result<Arc<Self>> {
        let new = try_pin_init!(Self {
            host: host.clone(),
            held <- new_mutex!(None),
        });
        Arc::pin_init(new, GFP_KERNEL)
    }
}

/// The files.
pub(crate) const FILES: &[Spec<SelfTest>] = &[
    Spec {
        name: c"cycle",
        show: None,
        store: Some(cycle),
    },
    Spec {
        name: c"hold",
        show: Some(show_held),
        store: Some(hold),
    },
    Spec {
        name: c"edge",
        show: None,
        store: Some(edge),
    },
    Spec {
        name: c"memory",
        show: None,
        store: Some(add_memory),
    },
    Spec {
        name: c"fault",
        show: None,
        store: Some(fault),
    },
];

/// # Errors
///
/// The RMM keeps some.
fn free(host: &Host, granules: GranuleRange<Delegated>) -> Result {
    undelegate(&host.rmi, granules).map_err(errno)
}

fn cycle(data: &SelfTest, mib: &str) -> Result {
    let mib = mib.parse::<u64>().ok().filter(|mib| *mib <= MAX_MIB);
    let mib = mib.ok_or(EINVAL)?;
    let mut held = KVec::new();
    let mut result = Ok(());
    for _ in 0..(mib << 20).div_ceil(BLOCK_SIZE) {
        result = alloc_delegated(&data.host.rmi, BLOCK_ORDER)
            .and_then(|granules| held.push(granules, GFP_KERNEL).map_err(Error::from));
        if result.is_err() {
            break;
        }
    }
    for granules in held {
        result = result.and(free(&data.host, granules));
    }
    result
}

fn hold(data: &SelfTest, word: &str) -> Result {
    // `None` is to hold nothing.
    let order = match word {
        "-" => None,
        order => Some(order.parse::<u32>().map_err(|_| EINVAL)?),
    };
    let mut held = data.held.lock();
    match (order, held.take()) {
        (Some(order), None) if order <= BLOCK_ORDER => {
            *held = Some(alloc_delegated(&data.host.rmi, order)?);
            Ok(())
        }
        (None, Some(granules)) => free(&data.host, granules),
        (_, unchanged) => {
            *held = unchanged;
            Err(EINVAL)
        }
    }
}

fn edge(data: &SelfTest, word: &str) -> Result {
    if word != "1" {
        return Err(EINVAL);
    }
    let (before, behind) = memory::alloc(1)?.split(1);
    let moved = behind.ok_or(EIO)?.delegate(&data.host.rmi);
    let mut result = moved.error.map_or(Ok(()), |error| Err(errno(error)));
    if let (Some(before), Ok(())) = (&before, &result) {
        result = memory::loads_zeroes_behind(before);
    }
    let freed = moved
        .done
        .map_or(Ok(()), |granules| free(&data.host, granules));
    [before, moved.rest]
        .into_iter()
        .flatten()
        .for_each(memory::put);
    result.and(freed)
}

fn add_memory(_: &SelfTest, words: &str) -> Result {
    let [base, size] = numbers(words)?;
    platform::add_memory(base, size)
}

/// At most so many numbers in hexadecimal, with commas between them; the others are 0.
///
/// # Errors
///
/// `EINVAL`.
fn numbers<const N: usize>(words: &str) -> Result<[u64; N]> {
    let mut numbers = [0; N];
    let mut words = words.split(',');
    for (number, word) in numbers.iter_mut().zip(&mut words) {
        *number = u64::from_str_radix(word, 16).map_err(|_| EINVAL)?;
    }
    match words.next() {
        Some(_) => Err(EINVAL),
        None => Ok(numbers),
    }
}

fn fault(data: &SelfTest, words: &str) -> Result {
    let args: [u64; FAULT_ARGUMENTS] = numbers(words)?;
    // None of the arguments is an address that the RMM would look at.
    let results = data.host.rmi.conduit().smc(&Regs::new(FAULT, &args));
    match results.x(0) {
        0 => Ok(()),
        u64::MAX => Err(EOPNOTSUPP),
        _ => Err(EINVAL),
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
            let _ = free(&self.host, granules);
        }
    }
}
