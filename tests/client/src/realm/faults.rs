// SPDX-License-Identifier: GPL-2.0

//! Realms on an RMM that goes wrong at one of its commands. Either that does no harm, or the VMM gets
//! an error that `uapi/README.md` has; and what the RMM keeps is known to be leaked.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use kvm_arm_rmi::rmi::Fid;
use realm_guest::{fid, Op, Order, BASE};

use super::cpu::{Cpu, End};
use super::run::chunk;
use super::run::memory::{fill, set_ripas, share_and_take_back};
use super::signal::Kick;
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, Error, Result};

/// Memory that a life fills: few pages, but more than one fault brings in, and in two tables.
const SIZE: u64 = 0x2_0000;
/// What a table maps, all of which is shared for a moment so that the table goes.
const TABLE: u64 = 0x20_0000;
const BASES: [u64; 2] = [chunk(0), chunk(1) - SIZE / 2];

/// A life with every command that the component uses while all goes well. Each part begins with a
/// call of `part`, with its name.
pub(super) fn live(mut part: impl FnMut(&'static str)) -> Result<()> {
    part("making the VM");
    let vm = Vm::new(Shape {
        cpus: 2,
        ..Shape::REALM
    });
    let vm = vm.map_err(|e| format!("the VM: {e}"))?;
    let kicks = [Kick::default(), Kick::default()];
    let new = |n: usize| {
        let cpu = Cpu::new(&vm, &kicks[n], n as u64);
        cpu.map_err(|e| format!("CPU {n}: {e}"))
    };
    let (mut cpu, _other) = (new(0)?, new(1)?);
    let _gic = vm.add_gic().map_err(|e| format!("the GIC: {e}"))?;
    part("populating it");
    vm.load_guest()?;
    cpu.set_entry(0)?;
    part("the first run");
    cpu.start()?;
    part("first touch");
    for base in BASES {
        fill(&mut cpu, base, SIZE)?;
    }
    part("conversions");
    share_and_take_back(&mut cpu, BASES[0], SIZE / 2)?;
    part("conversion of a table");
    set_ripas(&mut cpu, Op::SetEmpty, chunk(1) - TABLE, TABLE)?;
    set_ripas(&mut cpu, Op::SetRam, chunk(1) - TABLE, TABLE)?;
    part("turning on and off");
    let call = [fid::CPU_ON, 1, BASE, 0];
    let [result, ..] = cpu.order(Order::new(Op::Smc, call.len() as u64), &call)?;
    ensure!(result == 0, "CPU_ON: {result:#x}");
    match cpu.give(Order::new(Op::SystemOff, 0), &[])? {
        End::Event(_) => Ok(()),
        other => Err(format!("SYSTEM_OFF: {other:?}").into()),
    }
}

/// What a command does wrong: the number of the effect, and its values.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    effect: u64,
    values: &'static [u64],
    times: u64,
}

const fn answer(values: &'static [u64]) -> Wrong {
    Wrong {
        effect: 0,
        values,
        times: 1,
    }
}

/// Answers in place of any command, the most telling ones first.
const ANSWERS: [Wrong; 11] = [
    // ERROR_INPUT.
    answer(&[1]),
    // INCOMPLETE, with an operation that there is not.
    answer(&[0xd]),
    // BUSY, until the host has had enough.
    Wrong {
        times: 10_000,
        ..answer(&[10])
    },
    // ERROR_REALM, ERROR_REC, ERROR_RTT.
    answer(&[2]),
    answer(&[3]),
    answer(&[0x204]),
    // BLOCKED for a while.
    Wrong {
        times: 20,
        ..answer(&[14])
    },
    // Memory is wanted, or given back.
    answer(&[0x50d, 7, 1 << 2]),
    answer(&[0x30d]),
    // No status at all, and no RMM.
    answer(&[0x77]),
    answer(&[u64::MAX]),
];
/// How many of them are for a command in the middle of a life.
const FEW: usize = 3;

/// Results of those that say how far they came.
const RESULTS: [Wrong; 2] = [
    Wrong {
        effect: 2,
        ..answer(&[0])
    },
    Wrong {
        effect: 2,
        ..answer(&[u64::MAX, u64::MAX, u64::MAX, u64::MAX])
    },
];

/// Exits that cannot be: written into the page of REC_ENTER.
const EXITS: [Wrong; 2] = [
    Wrong {
        effect: 5,
        ..answer(&[2, 0x800, 0xee])
    },
    // A RIPAS change of nothing that there is.
    Wrong {
        effect: 5,
        ..answer(&[2, 0x800, 4])
    },
];

/// The commands that do a part of a range at a time, and the register with its base.
const RANGES: [(Fid, u64); 8] = [
    (Fid::GRANULE_RANGE_DELEGATE, 1),
    (Fid::GRANULE_RANGE_UNDELEGATE, 1),
    (Fid::RTT_INIT_RIPAS, 2),
    (Fid::RTT_SET_RIPAS, 3),
    (Fid::RTT_DATA_MAP, 2),
    (Fid::RTT_DATA_UNMAP, 2),
    (Fid::RTT_UNPROT_MAP, 2),
    (Fid::RTT_UNPROT_UNMAP, 2),
];

/// No progress, as if an interrupt were pending, this often in a row: the VMM must not notice.
const IDLE: u64 = 20;

/// What goes wrong with a call of a command, the first one or a later one.
fn wrongs(fid: Fid, skip: u64) -> Vec<Wrong> {
    let answers = if skip == 0 { ANSWERS.len() } else { FEW };
    let mut wrongs = ANSWERS[..answers].to_vec();
    if RANGES.iter().any(|(range, _)| *range == fid) {
        wrongs.extend(RESULTS);
    }
    if fid == Fid::REC_ENTER {
        wrongs.extend(EXITS);
    }
    wrongs
}

/// `realm faults [COMMAND]`.
pub(super) fn main(only: Option<&str>) -> Result<()> {
    let mut commands = Vec::new();
    let before = debugfs::smcs()?;
    live(|_| ()).map_err(|e| format!("before any fault: {e}"))?;
    settled()?;
    for (name, (calls, _)) in debugfs::smcs()? {
        let calls = calls - before.get(&name).map_or(0, |(calls, _)| *calls);
        let fid = Fid::ALL.iter().find(|fid| fid.name() == name);
        if let (Some(fid), 1..) = (fid, calls) {
            commands.push((*fid, calls));
        }
    }
    ensure!(
        only.is_none_or(|only| commands.iter().any(|(fid, _)| only == fid.name())),
        "a life has no such command"
    );
    let mut wrong = 0;
    for (fid, calls) in commands {
        if only.is_none_or(|only| only == fid.name()) {
            wrong += command(fid, calls, only.is_some())?;
        }
    }
    // RMMs that read the state of memory in a descriptor, in either form.
    for form in [1, 2] {
        debugfs::fault(&[0, form])?;
        live(|_| ()).map_err(|e| format!("descriptors of form {form}: {e}"))?;
        settled()?;
    }
    debugfs::fault(&[0])?;
    ensure!(wrong == 0, "{wrong} cases failed");
    Ok(())
}

/// Every fault of a command, at its first call in a life and in the middle. Returns how many cases
/// failed.
fn command(fid: Fid, calls: u64, verbose: bool) -> Result<u64> {
    let (mut cases, mut failed, mut coped) = (0, 0, 0);
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    let places = if calls > 1 { &[0, calls / 2][..] } else { &[0] };
    for skip in places {
        for wrong in wrongs(fid, *skip) {
            let what = format!("{} after {skip} calls, {wrong:x?}", fid.name());
            cases += 1;
            if verbose {
                println!("{what}");
            }
            match case(fid, *skip, wrong) {
                Ok(None) => coped += 1,
                Ok(Some(error)) => *errors.entry(error).or_default() += 1,
                Err(error) => {
                    println!("wrong: {what}: {error}");
                    failed += 1;
                }
            }
        }
    }
    if let Some((_, base)) = RANGES.iter().find(|(range, _)| *range == fid) {
        for skip in places {
            let before = debugfs::granules()?;
            debugfs::fault(&[fid.raw().into(), 6, *skip, IDLE, *base])?;
            let result = live(|_| ()).and_then(|()| settled());
            debugfs::fault(&[0])?;
            let after = debugfs::granules()?;
            if result.is_err() || after != before {
                println!("wrong: no progress after {skip} calls: {result:?}, {before:?} {after:?}");
                failed += 1;
            }
        }
    }
    let (delegated, leaked) = debugfs::granules()?;
    live(|_| ()).map_err(|e| format!("after {}: {e}", fid.name()))?;
    settled()?;
    ensure!(
        debugfs::granules()? == (delegated, leaked),
        "a good realm after {} leaves {:?} instead of {:?}",
        fid.name(),
        debugfs::granules()?,
        (delegated, leaked)
    );
    println!(
        "{}: {cases} cases, {coped} did no harm, {errors:?}, {leaked} leaked so far",
        fid.name()
    );
    Ok(failed)
}

/// A life with a fault. Returns the error that the VMM saw.
fn case(fid: Fid, skip: u64, wrong: Wrong) -> Result<Option<String>> {
    debugfs::fault(&[0])?;
    let mut arguments = vec![fid.raw().into(), wrong.effect, skip, wrong.times];
    arguments.extend(wrong.values);
    debugfs::fault(&arguments)?;
    let result = live(|_| ());
    debugfs::fault(&[0])?;
    settled()?;
    result.err().map(|error| allowed(&error)).transpose()
}

/// Errors that a VMM may see when the RMM goes wrong, for people.
fn allowed(error: &Error) -> Result<String> {
    const ERRNOS: [i32; 2] = [libc::EIO, libc::ENOMEM];
    let text = error.to_string();
    match errno(error) {
        Some(errno) if ERRNOS.contains(&errno) => {
            Ok(std::io::Error::from_raw_os_error(errno).to_string())
        }
        None if text.ends_with("InternalError") => Ok("internal error".to_owned()),
        // It is the realm that gets to know: its RIPAS change has not gone all the way.
        None if text.starts_with("Set") && text.contains("status 0, top") => {
            Ok("told the realm".to_owned())
        }
        _ => Err(text.into()),
    }
}

/// The number that an error of the system has in its text, whatever it is part of.
pub(super) fn errno(error: &Error) -> Option<i32> {
    let text = error.to_string();
    let (_, rest) = text.rsplit_once("(os error ")?;
    rest.split_once(')')?.0.parse().ok()
}

/// Whatever the RMM still has is leaked: when nobody is at work any more.
pub(super) fn settled() -> Result<()> {
    const TRIES: u32 = 50;
    for _ in 0..TRIES {
        let (delegated, leaked) = debugfs::granules()?;
        if delegated == leaked {
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
    let (delegated, leaked) = debugfs::granules()?;
    Err(format!("{delegated} granules are delegated, {leaked} leaked").into())
}
