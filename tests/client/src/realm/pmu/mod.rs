// SPDX-License-Identifier: GPL-2.0

//! Realms with a PMU: what their counters have stays theirs, they count the realm and nothing else, and
//! they interrupt it.

mod guest;
mod refused;

use std::thread::sleep;
use std::time::Duration;

use kvm_bindings::KVM_CAP_ARM_PMU_V3;
use kvm_ioctls::{Kvm, VcpuExit};
use realm_guest::{GICD, GICR};

use super::bare::{at, pmcr, Bare, With, PMCR_N};
use super::host_cpu::stay_on;
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, Result};
use guest::{CYCLES, FATAL, INSTRUCTIONS, KIND, KINDS, LEAST, MOST, NEXT, PAUSE, WRONG};

/// Each realm goes through all that a guest does so often.
const ROUNDS: u64 = 24;
/// Those of a realm that is away for long in between, every so many, and how long.
const LONG: u64 = 6;
const AWAY: Duration = Duration::from_millis(200);

/// A VM whose guest uses its PMU, and what it has said.
struct Busy {
    bare: Bare,
    counters: u64,
    rounds: u64,
    /// The fewest cycles that were counted over a pause of [`AWAY`].
    cycles: u64,
    /// Instructions were counted so often.
    instructions: u64,
}

impl Busy {
    /// With so many event counters, or with all there are.
    fn new(shape: Shape, counters: Option<u64>) -> Result<Self> {
        let registers = [(3, at(shape, GICD)), (4, at(shape, GICR))];
        let bare = Bare::new(shape, guest::busy(), With::Pmu(counters), &registers)?;
        let counters = (pmcr(&bare.cpu)? & PMCR_N) >> 11;
        Ok(Self {
            bare,
            counters,
            rounds: 0,
            cycles: u64::MAX,
            instructions: 0,
        })
    }

    /// Until the guest would have something else done.
    fn turn(&mut self) -> Result<()> {
        loop {
            match self.bare.cpu.run() {
                Ok(VcpuExit::MmioRead(at, data)) => {
                    data.fill(0);
                    match at & 0xfff {
                        NEXT => return Ok(()),
                        PAUSE if self.rounds % LONG == 0 => sleep(AWAY),
                        PAUSE => {}
                        _ => return Err(format!("a read at {at:#x}").into()),
                    }
                }
                Ok(VcpuExit::MmioWrite(at, data)) => {
                    let value = u64::from_le_bytes(data.try_into()?);
                    self.told(at & 0xfff, value)?;
                }
                Ok(exit) => {
                    let exit = format!("{exit:?}");
                    return Err(format!("{}: {exit}", self.name()).into());
                }
                Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn told(&mut self, at: u64, value: u64) -> Result<()> {
        let name = self.name();
        match at {
            WRONG => {
                let wrong = KINDS
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| value & 1 << n != 0);
                let wrong: Vec<_> = wrong.map(|(_, what)| *what).collect();
                ensure!(value == 0, "{name}: {}", wrong.join("; "));
                self.rounds += 1;
            }
            CYCLES => {
                ensure!(value != 0, "{name}: no cycles");
                if self.rounds % LONG == 0 {
                    self.cycles = self.cycles.min(value);
                }
            }
            INSTRUCTIONS => {
                ensure!(
                    (LEAST..=MOST).contains(&value),
                    "{name}: {value} instructions instead of {LEAST} to {MOST}"
                );
                self.instructions += 1;
            }
            KIND => {
                let (version, counters) = (value >> 8, value & 0xff);
                ensure!(
                    version != 0 && counters == self.counters,
                    "{name}: version {version}, {counters} counters instead of {}",
                    self.counters
                );
            }
            FATAL => return Err(format!("{name}: an exception, ESR_EL1 {value:#x}").into()),
            _ => return Err(format!("{name}: a write at {at:#x}").into()),
        }
        Ok(())
    }

    fn name(&self) -> String {
        let kind = match self.bare.realm {
            true => "the realm",
            false => "the other VM",
        };
        format!(
            "{kind} with {} counters, round {}",
            self.counters, self.rounds
        )
    }

    /// What it has counted while it was away is not its own: there are fewer cycles than half of those
    /// that a slow CPU has meanwhile.
    fn check_cycles(&self) -> Result<()> {
        let most = AWAY.as_nanos() as u64 / 2;
        ensure!(
            self.cycles < most,
            "{}: {} cycles or more, when it was away for {AWAY:?}",
            self.name(),
            self.cycles
        );
        Ok(())
    }
}

/// A realm with so many counters by turns with an ordinary VM that has all, on one CPU and on another.
fn by_turns(counters: Option<u64>) -> Result<()> {
    let ordinary = Shape {
        realm: false,
        ..Shape::REALM
    };
    let mut realm = Busy::new(Shape::REALM, counters)?;
    let mut other = Busy::new(ordinary, None)?;
    for turn in 0.. {
        if realm.rounds == ROUNDS {
            break;
        }
        realm.turn()?;
        // Now and then the realm goes on where it was, and now and then where the other has been.
        if turn % 3 == 0 {
            other.turn()?;
        }
        stay_on((turn / 2 % 2) as usize)?;
    }
    realm.check_cycles()?;
    refused::when_it_runs(&realm.bare.cpu)?;
    println!(
        "  {} counters: {} rounds, {} of the other; at least {} cycles over {AWAY:?}, {} times instructions",
        realm.counters, realm.rounds, other.rounds, realm.cycles, realm.instructions
    );
    Ok(())
}

/// Where the version of the PMU is in what a guest says, see [`KIND`].
const VERSION: u64 = 0xf00;

/// A realm that is made without a PMU has none: the registers read as zero.
fn without() -> Result<()> {
    let mut bare = Bare::new(Shape::REALM, guest::without(), With::Nothing, &[])?;
    loop {
        match bare.cpu.run() {
            Ok(VcpuExit::MmioWrite(at, data)) => {
                let value = u64::from_le_bytes(data.try_into()?);
                ensure!(
                    at & 0xfff == KIND && value & !VERSION == 0,
                    "a realm without a PMU sees one: {value:#x} at {at:#x}"
                );
                // That is the RMM's to say, and TF-RMM of 1.0 has what the CPU has.
                if value != 0 {
                    println!("  a realm without a PMU is told of one, whose registers are 0");
                }
                return Ok(());
            }
            Ok(exit) => return Err(format!("without a PMU: {exit:?}").into()),
            Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the RMM says that realms can have a PMU.
fn rmm_has_pmu() -> Result<bool> {
    let text = std::fs::read_to_string(format!("{}/capabilities", debugfs::DIRECTORY))?;
    ensure!(
        text.contains("\"pmu\":"),
        "the component does not say whether there is a PMU: {text}"
    );
    Ok(text.contains("\"pmu\":true"))
}

/// `realm pmu`: see the top.
pub(super) fn main() -> Result<()> {
    let before = debugfs::delegated()?;
    let has = |vm: &Vm| vm.fd.check_extension_raw(KVM_CAP_ARM_PMU_V3.into()) > 0;
    let host = Kvm::new()?.check_extension_raw(KVM_CAP_ARM_PMU_V3.into()) > 0;
    let there = has(&Vm::empty(Shape::REALM)?);
    ensure!(
        there == (host && rmm_has_pmu()?),
        "realms can have a PMU: {there}, ordinary VMs: {host}"
    );
    without()?;
    if there {
        let most = refused::main()?;
        for counters in [None, Some(1), Some(most.div_ceil(2))] {
            by_turns(counters)?;
        }
    } else {
        refused::without()?;
        println!("no PMU in realms (on this host: {host})");
    }
    debugfs::expect_delegated(before)
}
