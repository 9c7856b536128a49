// SPDX-License-Identifier: GPL-2.0

//! Everything in the kernel that moves pages, beside a realm that shares them.
//!
//! The realm's CPUs and this process, as the VMM, share memory in which each of them has every so many
//! words. Each looks at all words all the time and renews its own, from one generation to the next
//! ([`realm_guest::Renewal`]), while a [`Mover`] is at work on the same pages. No word may be lost, and
//! none may be one that was there before; and the mover has to say that it has moved something.

mod ground;
mod ksm;
mod lossy;
mod nodes;
mod process;
mod split;
mod swap;
mod userfault;
mod words;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use realm_guest::{fid, Op, Order, Renewal, BASE, PAGE_SIZE};

use super::cpu::Cpu;
use super::memory::{Huge, Mapping};
use super::signal::{self, Kick};
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, Result};
use ground::{Ground, Kind};

/// What moves pages.
trait Mover: Sync {
    /// Called again and again while everybody is at work on the memory.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong, also with what it has looked at.
    fn step(&self, ground: &Ground<'_>) -> Result<()>;

    /// Called while nobody is at work on the memory, and every word is of one generation.
    ///
    /// # Errors
    ///
    /// As above.
    fn quiet(&self, _ground: &Ground<'_>) -> Result<()> {
        Ok(())
    }

    /// How much it has moved until now, by what the kernel says.
    fn moved(&self, ground: &Ground<'_>) -> Result<u64>;
}

/// A mover, and what it is let loose on.
struct Entry {
    name: &'static str,
    kind: Kind,
    /// It makes pages one that are alike: all pages are.
    alike: bool,
    /// It is its purpose to lose what is in the pages.
    lossy: bool,
    /// It has done something if it has moved so much.
    enough: u64,
    make: fn(&Ground<'_>) -> Result<Box<dyn Mover>>,
}

/// One that keeps what is in the memory.
const fn entry(
    name: &'static str,
    kind: Kind,
    enough: u64,
    make: fn(&Ground<'_>) -> Result<Box<dyn Mover>>,
) -> Entry {
    Entry {
        name,
        kind,
        alike: false,
        lossy: false,
        enough,
        make,
    }
}

/// One that does not.
const fn lossy(entry: Entry) -> Entry {
    Entry {
        lossy: true,
        ..entry
    }
}

const MOVERS: [Entry; 18] = [
    Entry {
        alike: true,
        ..entry("ksm", Kind::Small, ground::PAGES, ksm::make)
    },
    entry("swap", Kind::Small, ground::PAGES, swap::make),
    entry("swap-file", Kind::File, ground::PAGES, swap::make),
    entry("move-pages", Kind::Small, ground::PAGES, nodes::move_pages),
    entry("migrate", Kind::Small, ground::PAGES, nodes::migrate),
    entry("balance", Kind::Small, 8, nodes::balance),
    entry("compact", Kind::Small, 4, nodes::compact),
    entry("split", Kind::Huge, 2, split::make),
    entry("hugetlb-move", Kind::Hugetlb, 2, nodes::move_pages),
    lossy(entry("hugetlb-hole", Kind::Hugetlb, 2, lossy::hole)),
    lossy(entry("file-hole", Kind::File, ground::PAGES, lossy::hole)),
    entry("userfault", Kind::Small, ground::PAGES / 4, userfault::make),
    entry("fork", Kind::Small, ground::PAGES, process::fork),
    entry("mprotect", Kind::Small, 4, process::protect),
    entry("mremap", Kind::File, 4, process::remap),
    lossy(entry(
        "mremap-away",
        Kind::Small,
        ground::PAGES,
        process::remap_away,
    )),
    lossy(entry("discard", Kind::Small, ground::PAGES, lossy::discard)),
    lossy(entry("free", Kind::Small, ground::PAGES, lossy::free)),
];

/// Takes as long as it likes: only by name.
const BY_NAME: &str = "compact";
/// Generations from one time that all words are the same to the next. So few that hardly anything from
/// before that is right.
const ROUNDS: u32 = 2;
/// How often that is at least.
const ORDERS: u32 = 3;
/// A mover has moved something in this time, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(120);

/// `realm movers CPUS [NAME...]`: those, or all but one, beside a realm of so many CPUs.
pub(super) fn main(cpus: u64, names: &[&str]) -> Result<()> {
    signal::init()?;
    for name in names {
        let known = MOVERS.iter().any(|entry| entry.name == *name);
        ensure!(known, "no mover is called {name}");
    }
    nodes::reserve_huge_pages()?;
    let before = debugfs::delegated()?;
    realm(cpus, names)?;
    debugfs::expect_delegated(before)
}

/// All movers, one after another, beside one realm.
fn realm(cpus: u64, names: &[&str]) -> Result<()> {
    let mut vm = Vm::new(Shape {
        cpus,
        memory: 4 << 20,
        ..Shape::REALM
    })?;
    for kind in Kind::ALL {
        let memory = kind.map()?;
        // Private memory may be where this is.
        let memfd = match kind {
            Kind::Small | Kind::Huge => Some(vm.guest_memfd(memory.size())?),
            Kind::File | Kind::Hugetlb => None,
        };
        vm.add_slot(kind.base(), memory, memfd)?;
    }
    let vm = vm;
    let kicks: Vec<Kick> = (0..cpus).map(|_| Kick::default()).collect();
    let cpus = (0..).zip(&kicks).map(|(n, kick)| Cpu::new(&vm, kick, n));
    let mut cpus = cpus.collect::<Result<Vec<_>>>()?;
    let _gic = vm.add_gic()?;
    vm.load_guest()?;
    let (first, others) = cpus.split_first_mut().ok_or("no CPU")?;
    first.set_entry(0)?;
    first.start()?;
    for (n, cpu) in (1..).zip(others) {
        let call = [fid::CPU_ON, n, BASE, 0];
        let [result, ..] = first.order(Order::new(Op::Smc, 4), &call)?;
        ensure!(result == 0, "CPU_ON: {result:#x}");
        cpu.start()?;
    }
    for entry in &MOVERS {
        if names.contains(&entry.name) || (names.is_empty() && entry.name != BY_NAME) {
            beside(&vm, &mut cpus, entry).map_err(|e| format!("{}: {e}", entry.name))?;
        }
    }
    Ok(())
}

/// A mover, beside a realm and its VMM.
fn beside(vm: &Vm, cpus: &mut [Cpu<'_>], entry: &Entry) -> Result<()> {
    let start = Instant::now();
    let ground = Ground::new(vm, entry.kind)?;
    let mut words = Renewal {
        generation: 1,
        rounds: ROUNDS,
        class: cpus.len() as u64,
        classes: cpus.len() as u64 + 1,
        alike: entry.alike,
        lossy: entry.lossy,
    };
    words::fill(&ground, &words);
    let mover = (entry.make)(&ground)?;
    let over = AtomicBool::new(false);
    let orders = thread::scope(|scope| {
        let moving = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Acquire) {
                mover.step(&ground)?;
            }
            Ok(())
        });
        let mut orders = 0;
        let result = loop {
            let step = mover.quiet(&ground);
            if let Err(error) = step.and_then(|()| renew(&ground, cpus, &mut words)) {
                break Err(error);
            }
            orders += 1;
            match mover.moved(&ground) {
                Ok(moved) if moved >= entry.enough && orders >= ORDERS => break Ok(orders),
                Ok(moved) if start.elapsed() > PATIENCE => {
                    break Err(format!("it has moved {moved} only").into());
                }
                Ok(_) if moving.is_finished() => break Err("it has ended".into()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        over.store(true, Ordering::Release);
        let moving = moving.join().map_err(|_| "a thread panicked")?;
        // What stopped the mover says more than what became of the others.
        moving.and(result)
    })?;
    let moved = mover.moved(&ground)?;
    drop(mover);
    // Now that nothing is lost any more all words become what they should be.
    renew(&ground, cpus, &mut words)?;
    words.lossy = false;
    words.rounds = 0;
    renew(&ground, cpus, &mut words)?;
    println!(
        "{}, {} CPUs: {moved} moved in {} generations, {} ms",
        entry.name,
        cpus.len(),
        orders * ROUNDS,
        start.elapsed().as_millis()
    );
    Ok(())
}

/// All words are looked at, and renewed, by all CPUs and this process at once.
fn renew(ground: &Ground<'_>, cpus: &mut [Cpu<'_>], words: &mut Renewal) -> Result<()> {
    let all = *words;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(cpus)
            .map(|(class, cpu)| {
                let mine = Renewal { class, ..all };
                scope.spawn(move || words::by_realm(ground, cpu, mine))
            })
            .collect();
        let ours = words::by_us(ground, &all);
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        ours
    })?;
    words.generation += words.rounds;
    Ok(())
}
