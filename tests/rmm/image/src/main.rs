// SPDX-License-Identifier: GPL-2.0

//! The embedded RMM as a bare-metal image for Realm EL2.
//!
//! EL3 (TF-A) loads it, enters it on every CPU, and carries the host's RMI calls to it. What the
//! calls mean is the `rmm` library's business; this is the machine around it:
//!
//! | file | holds |
//! |---|---|
//! | `entry.S`, `entry.rs` | the way in, the vectors, the first translation tables |
//! | `layout.rs`, `image.ld` | where everything is |
//! | `arch.rs` | instructions and system registers |
//! | `el3.rs` | the calls to EL3 |
//! | `memory.rs` | translation tables and access to granules |
//! | `platform.rs` | what the library asks of the machine |
//! | `cpu.rs` | what the CPU can do, and how its Realm EL2 is set up |
//! | `realm.S`, `realm.rs` | the way into a realm and back |
//! | `el1.rs`, `timer.rs`, `pmu.rs`, `simd.S`, `simd.rs` | what the host and the realms share of a CPU |
//! | `gic.rs`, `tlb.rs`, `random.rs` | the interrupt controller, the TLBs, random numbers |
//! | `console.rs`, `fatal.rs` | the log, and the end |

#![no_std]
#![no_main]

mod arch;
mod console;
mod cpu;
mod el1;
mod el3;
mod entry;
mod fatal;
mod gic;
mod layout;
mod memory;
mod platform;
mod pmu;
mod random;
mod realm;
mod simd;
mod timer;
mod tlb;

use kvm_arm_rmi::rmi::{PhysAddr, Regs};
use rmm::el3::{check_warm_boot, BootError, ColdBoot, Manifest};
use rmm::granule::Entry;
use rmm::rmi::Dialect;
use rmm::rsi::highest_version;
use rmm::{GranuleTable, Rmm};
use spin::Once;

use crate::console::log;
use crate::memory::{AddressSpace, Windows};
use crate::platform::RealmEl2;

/// The states of the granules.
static GRANULES: [Entry; layout::MAX_GRANULES] = [const { Entry::new(0) }; layout::MAX_GRANULES];

/// What the first boot leaves for all CPUs.
struct Machine {
    rmm: Rmm<'static, RealmEl2>,
    cpus: u64,
}

/// What the RMM speaks.
const DIALECT: Dialect = if cfg!(feature = "rmi-1-0") {
    Dialect::V1
} else if cfg!(feature = "bet2") {
    Dialect::Bet2
} else {
    Dialect::Main
};

static MACHINE: Once<Machine> = Once::new();

/// Boots the RMM on the first CPU. `args` are x0 to x3 as EL3 passed them.
fn cold_boot(args: [u64; 4]) -> ! {
    match MACHINE.try_call_once(|| start(args)) {
        Ok(machine) => serve(machine),
        Err(error) => fail(error),
    }
}

/// Boots the RMM on a further CPU, or on one that was off.
fn warm_boot(args: [u64; 4]) -> ! {
    let Some(machine) = MACHINE.get() else {
        fail(BootError::Unknown)
    };
    match check_warm_boot(args, machine.cpus) {
        Ok(()) => serve(machine),
        Err(error) => fail(error),
    }
}

/// Makes the RMM from what EL3 says about the machine.
fn start(args: [u64; 4]) -> Result<Machine, BootError> {
    let boot = ColdBoot::new(args, layout::MAX_CPUS)?;
    // SAFETY: `entry.S` gets here once, on the first CPU, and EL3 boots no other before this one is
    // done.
    let mut space = unsafe { AddressSpace::new() };
    let page = space
        .read_shared(boot.shared)
        .map_err(|_| BootError::InvalidSharedBuffer)?;
    let limit = PhysAddr::new(layout::RAM_LIMIT);
    let manifest = Manifest::new(&page, boot.shared, limit)?;
    let console = space
        .map_manifest(&manifest)
        .map_err(|_| BootError::ManifestData)?;
    if let Some(base) = console {
        // SAFETY: EL3 says that it is a PL011, and it has just been mapped.
        unsafe { console::open(base) };
    }

    let own = memory::own().ok_or(BootError::Unknown)?;
    let table = GranuleTable::new(manifest.ram, &GRANULES, own).ok_or(BootError::ManifestData)?;
    // SAFETY: `map_manifest` has mapped them, and `table` is the only one there will be.
    let windows = unsafe { Windows::new() };

    let (rmi, rsi) = (DIALECT.version(), highest_version(DIALECT));
    log!(
        "RMI {}.{}, RSI {}.{}, RMM-EL3 interface {}, boot manifest {}",
        rmi >> 16,
        rmi & 0xffff,
        rsi >> 16,
        rsi & 0xffff,
        boot.version,
        manifest.version,
    );
    for bank in manifest.ram.banks() {
        log!("memory {bank}, own {own}, up to {} CPUs", boot.cpus);
    }
    let rmm = Rmm::new(RealmEl2::new(windows), table);
    if cfg!(feature = "bet2") {
        log!("RMI of the bet2 draft");
    }
    rmm.speak(DIALECT);
    Ok(Machine {
        rmm,
        cpus: boot.cpus,
    })
}

/// Serves the host on this CPU: each return to EL3 brings the next command.
fn serve(machine: &Machine) -> ! {
    cpu::init();
    let mut smc = el3::boot_complete(Ok(()));
    loop {
        fatal::check();
        let [x0, args @ ..] = &smc;
        let mut regs = Regs::new(*x0, args);
        machine.rmm.handle(&mut regs);
        smc = el3::request_complete(&regs);
    }
}

/// Tells EL3 that the RMM cannot boot.
fn fail(error: BootError) -> ! {
    log!("boot failed: {error:?}");
    el3::boot_complete(Err(error));
    arch::park()
}
