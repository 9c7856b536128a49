// SPDX-License-Identifier: GPL-2.0

//! The conformance probe: a program in place of the host's kernel that makes RMI calls, good ones
//! and bad ones, and prints what comes back in a form that is the same for every RMM that conforms.
//!
//! `expected.txt` beside this package is what TF-RMM answers, `expected-1.0.txt` what it answered in
//! RMI 1.0; `run` compares.
//!
//! | file | holds |
//! |---|---|
//! | `entry.S`, `entry.rs`, `probe.ld`, `layout.rs` | the way in, the machine's addresses |
//! | `arch.rs`, `gic.rs`, `console.rs` | instructions, interrupts, output |
//! | `probe.rs`, `operation.rs` | a call: made, counted, printed |
//! | `signature.rs`, `descriptor.rs`, `names.rs`, `show.rs` | how arguments and results are printed |
//! | `memory.rs`, `params.rs`, `world.rs`, `puppet.rs` | what a scenario prepares |
//! | `scenario/` | the walk |
//! | `rounds.rs`, `tally.rs`, `vmm.rs`, `smp.rs` | realms at work, with a REC on each CPU |
//! | `v1.rs` | what these do otherwise on an RMM that speaks RMI 1.0 |

#![no_std]
#![no_main]

mod arch;
mod console;
mod descriptor;
mod entry;
mod gic;
mod layout;
mod memory;
mod names;
mod operation;
mod params;
mod probe;
mod puppet;
mod rounds;
mod scenario;
mod show;
mod signature;
mod smp;
mod tally;
mod v1;
mod vmm;
mod world;

use crate::console::say;
use crate::probe::Probe;

/// The first CPU, on its own stack.
extern "C" fn main() -> ! {
    gic::enable(0);
    smp::start();
    let mut probe = Probe::new();
    if v1::is_spoken(&mut probe) {
        scenario::run_v1(&mut probe);
    } else {
        scenario::run(&mut probe);
    }
    rounds::run(&mut probe);
    probe.finish();
    say!("done");
    arch::system_off()
}

/// Another CPU, on its own stack.
extern "C" fn main_next(cpu: u64) -> ! {
    smp::serve(cpu as usize)
}
