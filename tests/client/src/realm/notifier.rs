// SPDX-License-Identifier: GPL-2.0

//! What an MMU notifier has returned for is not the realm's any more: its pages may be freed and used
//! for something else. Two unmappers are at work at once on overlapping memory that the realm shares
//! and keeps storing to. The second one looks, as soon as its call has returned, whether what it took
//! away stays as it is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use realm_guest::{fid, Op, Order, BASE, PAGE_SIZE};

use super::cpu::{Cpu, End};
use super::host_cpu::stay_on;
use super::memory::{check, Huge, Mapping};
use super::signal::{self, Kick};
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, faults, Error, Result};

/// What a table at level 3 maps.
const TABLE: u64 = 0x20_0000;
/// What both unmap: `FRONT` keeps the first one busy, and of the `TAIL` right behind it the second takes
/// some pages.
const FRONT: u64 = BASE + 2 * TABLE;
const FRONT_SIZE: u64 = 4 * TABLE;
const TAIL: u64 = FRONT + FRONT_SIZE;
const TAIL_SIZE: u64 = TABLE;
const BOTH_SIZE: u64 = FRONT_SIZE + TAIL_SIZE;
/// Pages of the tail that the realm stores to.
const PAGES: u64 = 4;
const SHAPE: Shape = Shape {
    cpus: 2,
    memory: TAIL + TAIL_SIZE - BASE,
    ..Shape::REALM
};

/// No value that the guest stores, nor one that memory has by itself.
const CANARY: u64 = 0xca4a_5100_ca4a_5100;
/// How long the second looks at what it has taken away.
const LOOK: Duration = Duration::from_millis(2);
/// The realm gets to all its pages in this time, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the first takes everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum First {
    Discards,
    Converts,
}

/// How the second takes its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Second {
    /// They are free, and become other memory at once.
    Discards,
    /// A child has them, as they were.
    Forks,
    /// Nobody can write them.
    Protects,
}

/// Two at once, as long as not both of them change the address space. That the front is mapped in small
/// pages keeps the first busy for longer.
const SCENES: [(First, Second, Huge); 5] = [
    (First::Discards, Second::Discards, Huge::Never),
    (First::Converts, Second::Discards, Huge::Never),
    (First::Converts, Second::Forks, Huge::Never),
    (First::Converts, Second::Protects, Huge::Never),
    (First::Discards, Second::Discards, Huge::Always),
];

/// `realm notifier [ROUNDS]`: so many of each scene.
pub(super) fn main(rounds: u64) -> Result<()> {
    signal::init()?;
    let before = debugfs::delegated()?;
    let mut wrong = 0;
    for scene in SCENES {
        wrong += scene_of(scene, rounds).map_err(|e| format!("{scene:?}: {e}"))?;
        debugfs::expect_delegated(before)?;
    }
    ensure!(
        wrong == 0,
        "{wrong} times the realm stored to what it had lost"
    );
    Ok(())
}

/// What the threads of a scene share.
struct Scene<'a> {
    vm: &'a Vm,
    second: Second,
    /// The round that has begun; the last one is told by `over`.
    round: AtomicU64,
    /// The last round in which the first, and the second, are done.
    done: [AtomicU64; 2],
    over: AtomicBool,
}

/// Plays a scene; returns in how many rounds the realm stored to what it had lost.
fn scene_of((first, second, huge): (First, Second, Huge), rounds: u64) -> Result<u64> {
    let mut vm = Vm::new(SHAPE)?;
    vm.keeps_both = true;
    let vm = vm;
    vm.set_private(FRONT, BOTH_SIZE, false)?;
    slot(&vm)?.set_huge(FRONT - BASE, FRONT_SIZE, huge)?;
    let kicks = [Kick::default(), Kick::default()];
    let mut storing = Cpu::new(&vm, &kicks[0], 0)?;
    let mut other = Cpu::new(&vm, &kicks[1], 1)?;
    let _gic = vm.add_gic()?;
    vm.load_guest()?;
    storing.set_entry(0)?;
    storing.start()?;
    let call = [fid::CPU_ON, 1, BASE, 0];
    let [result, ..] = storing.order(Order::new(Op::Smc, 4), &call)?;
    ensure!(result == 0, "CPU_ON: {result:#x}");
    other.start()?;

    let start = Instant::now();
    let scene = Scene {
        vm: &vm,
        second,
        round: AtomicU64::new(0),
        done: [AtomicU64::new(0), AtomicU64::new(0)],
        over: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let tail = Order::pages(Op::Scribble, TAIL, PAGES * PAGE_SIZE).shared();
        let front = Order::pages(Op::Scribble, FRONT, FRONT_SIZE).shared();
        let cpus = [
            scope.spawn(move || scribble(storing, tail)),
            scope.spawn(move || scribble(other, front)),
        ];
        let taking = scope.spawn(|| scene.second(rounds));
        let result = (1..=rounds).try_for_each(|round| scene.first(first, round));
        scene.over.store(true, Ordering::Release);
        let wrong = taking.join().map_err(|_| "a thread panicked")?;
        vm.stop.store(true, Ordering::Release);
        while cpus.iter().any(|cpu| !cpu.is_finished()) {
            kicks.iter().for_each(|kick| {
                kick.kick();
            });
            thread::sleep(Duration::from_millis(2));
        }
        // What stopped a CPU says more than that the others waited for it in vain.
        for cpu in cpus {
            cpu.join().map_err(|_| "a thread panicked")??;
        }
        result?;
        let (wrong, overlapped) = wrong?;
        println!(
            "{first:?}, {second:?}, huge pages {huge:?}: {wrong} wrong of {rounds} rounds in {} s; in \
             {overlapped} both were at work at once",
            start.elapsed().as_secs()
        );
        Ok(wrong)
    })
}

/// Runs a CPU that stores for ever, whatever becomes of its memory.
fn scribble(mut cpu: Cpu<'_>, order: Order) -> Result<()> {
    let mut end = cpu.give(order, &[]);
    loop {
        match end {
            Ok(End::Stopped) => break,
            Ok(end) => {
                cpu.kick.nobody();
                return Err(format!("instead of storing: {end:?}").into());
            }
            // It is read-only, or in no slot, for a moment.
            Err(error) if faults::errno(&error) == Some(libc::EFAULT) => thread::yield_now(),
            Err(error) => {
                cpu.kick.nobody();
                return Err(error);
            }
        }
        end = cpu.run();
    }
    cpu.kick.nobody();
    Ok(())
}

/// The memory that the realm shares.
fn slot(vm: &Vm) -> Result<&Mapping> {
    Ok(&vm.slots.first().ok_or("no slot")?.shared)
}

/// Waits for something that is sure to come.
fn wait_for(what: &str, mut is_there: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is_there()? {
        ensure!(start.elapsed() < PATIENCE, "in vain: {what}");
        thread::yield_now();
    }
    Ok(())
}

fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

impl Scene<'_> {
    /// The words that the realm stores to in the tail.
    fn words(&self) -> Result<[u64; PAGES as usize]> {
        let mut words = [0; PAGES as usize];
        for (n, word) in (0..).zip(&mut words) {
            *word = self.vm.read_shared(TAIL + n * PAGE_SIZE)?;
        }
        Ok(words)
    }

    /// Waits until the realm stores all over.
    fn realm_is_at_work(&self) -> Result<()> {
        let fronts = (FRONT..TAIL).step_by(TABLE as usize);
        wait_for("the realm stores to the front", || {
            let words = fronts
                .clone()
                .map(|ipa| self.vm.read_shared(ipa + TABLE - PAGE_SIZE));
            Ok(words
                .collect::<Result<Vec<_>>>()?
                .iter()
                .all(|word| *word != 0))
        })?;
        let before = self.words()?;
        wait_for("the realm stores to the tail", || {
            let moved = |(now, before): (&u64, &u64)| now != before;
            Ok(self.words()?.iter().zip(&before).all(moved))
        })
    }

    /// A round of the first unmapper's.
    fn first(&self, first: First, round: u64) -> Result<()> {
        wait_for("the second is ready", || {
            Ok(self.done[1].load(Ordering::Acquire) == round - 1)
        })?;
        self.realm_is_at_work()?;
        self.round.store(round, Ordering::Release);
        match first {
            First::Discards => slot(self.vm)?.discard(FRONT - BASE, BOTH_SIZE)?,
            First::Converts => self.vm.set_private(FRONT, BOTH_SIZE, true)?,
        }
        self.done[0].store(round, Ordering::Release);
        if first == First::Converts {
            self.vm.set_private(FRONT, BOTH_SIZE, false)?;
        }
        Ok(())
    }

    /// All rounds of the second: in how many there was something wrong, and in how many the first was
    /// at work still when its own was over.
    fn second(&self, rounds: u64) -> Result<(u64, u64)> {
        stay_on_this_cpu()?;
        let other = Mapping::new(PAGES * PAGE_SIZE, Huge::Never)?;
        let (mut wrong, mut overlapped) = (0, 0);
        for round in 1..=rounds {
            self.touch()?;
            self.done[1].store(round - 1, Ordering::Release);
            wait_for("the first begins", || {
                let over = self.over.load(Ordering::Acquire);
                let begun = self.round.load(Ordering::Acquire) == round;
                // The last round may be over before anybody looks.
                ensure!(begun || !over, "the first has failed");
                Ok(begun)
            })?;
            // Now a little earlier, now a little later.
            spin(Duration::from_micros(round % 16 * 100));
            let mut at_once = false;
            let good = match self.second {
                Second::Discards => self.discards(&other, round, &mut at_once)?,
                Second::Forks => self.forks(round, &mut at_once)?,
                Second::Protects => self.protects(round, &mut at_once)?,
            };
            wrong += u64::from(!good);
            overlapped += u64::from(at_once);
        }
        self.done[1].store(rounds, Ordering::Release);
        Ok((wrong, overlapped))
    }

    /// The realm's pages are of those that this CPU has at hand, and that it can have free at once.
    fn touch(&self) -> Result<()> {
        (0..PAGES).try_for_each(|n| self.vm.write_shared(TAIL + n * PAGE_SIZE, 0))
    }

    fn first_is_at_work(&self, round: u64) -> bool {
        self.done[0].load(Ordering::Acquire) < round
    }

    /// Gives the pages back one by one, and uses each at once as a page of `other`.
    fn discards(&self, other: &Mapping, round: u64, at_once: &mut bool) -> Result<bool> {
        for n in 0..PAGES {
            slot(self.vm)?.discard(TAIL - BASE + n * PAGE_SIZE, PAGE_SIZE)?;
            other.write(n * PAGE_SIZE, CANARY);
            *at_once |= self.first_is_at_work(round);
        }
        spin(LOOK);
        let seen: Vec<u64> = (0..PAGES).map(|n| other.read(n * PAGE_SIZE)).collect();
        other.discard(0, PAGES * PAGE_SIZE)?;
        let good = seen.iter().all(|word| *word == CANARY);
        if !good {
            println!("round {round}: the realm stored to memory that is not its own: {seen:x?}");
        }
        Ok(good)
    }

    /// A child has the pages as they were when it began.
    fn forks(&self, round: u64, at_once: &mut bool) -> Result<bool> {
        // SAFETY: The child reads memory and the clock, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let stays = stays(|| self.words().unwrap_or_default());
            // SAFETY: Ends the child, and nothing else of it runs.
            unsafe { libc::_exit(i32::from(stays.is_err())) };
        }
        check(child)?;
        *at_once = self.first_is_at_work(round);
        let mut status = 0;
        // SAFETY: It writes the status.
        check(unsafe { libc::waitpid(child, &mut status, 0) })?;
        if status != 0 {
            println!("round {round}: the realm stored to a child's memory");
        }
        Ok(status == 0)
    }

    /// Nobody may write the pages for a while.
    fn protects(&self, round: u64, at_once: &mut bool) -> Result<bool> {
        let (at, size) = (TAIL - BASE, PAGES * PAGE_SIZE);
        let shared = slot(self.vm)?;
        shared.protect(at, size, libc::PROT_READ)?;
        let stays = stays(|| self.words().unwrap_or_default());
        *at_once = self.first_is_at_work(round);
        shared.protect(at, size, libc::PROT_READ | libc::PROT_WRITE)?;
        if let Err(seen) = stays {
            println!("round {round}: the realm stored to memory that cannot be written: {seen:x?}");
        }
        Ok(stays.is_ok())
    }
}

/// Looks whether what is read stays the same; if not, what it was and what it became.
fn stays<T: PartialEq>(read: impl Fn() -> T) -> std::result::Result<(), [T; 2]> {
    let before = read();
    let start = Instant::now();
    while start.elapsed() < LOOK {
        let now = read();
        if now != before {
            return Err([before, now]);
        }
    }
    Ok(())
}

/// Has this thread stay where it is: each CPU has lists of free pages of its own.
fn stay_on_this_cpu() -> Result<()> {
    // SAFETY: Always succeeds.
    let cpu = unsafe { libc::sched_getcpu() };
    let cpu = usize::try_from(cpu).map_err(|e| -> Error { e.into() })?;
    stay_on(cpu)
}
