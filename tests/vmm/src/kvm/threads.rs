// SPDX-License-Identifier: GPL-2.0

//! The threads of a run: one for each CPU, one that waits for signals, one that reads what is
//! typed, one for what devices have left to do, and perhaps one that forks. They tell the main thread when
//! something ends. All that they do for the guest happens inside the [`Gate`], so that nothing does while it
//! is paused.

use std::io::{self, IsTerminal, Read};
use std::mem::MaybeUninit;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kvm_ioctls::VcpuFd;
use vmm_sys_util::signal::{block_signal, create_sigset};

use super::exits::{step, Faults, Next};
use super::vm::Vm;
use crate::bus::{lock, Bus};
use crate::console;
use crate::end::{End, News};
use crate::error::{Error, Result, Trying};
use crate::forks;
use crate::gate::Gate;
use crate::pci::Function;
use crate::stats::Stats;
use crate::terminal::{Keys, Typed};

/// What all CPUs share.
pub struct Guest {
    /// The VM.
    pub vm: Vm,
    /// Its devices.
    pub bus: Bus,
    /// What happens.
    pub stats: Arc<Stats>,
    /// Where everybody passes, each time, who does something for it.
    pub gate: Arc<Gate>,
}

/// Signals that end the guest.
const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Pauses the guest.
const PAUSE: i32 = libc::SIGUSR1;
/// Lets it go on.
const RESUME: i32 = libc::SIGUSR2;

/// Takes the signals that are meant for us from all threads that come later, and waits for them in
/// one: those that end us, and those that pause the guest and let it go on. The second signal that ends
/// us ends the process on the spot.
///
/// # Errors
///
/// The kernel does not want to.
pub fn wait_for_signals(news: Sender<News>, gate: Arc<Gate>, quiet: bool) -> Result<()> {
    let all = [&ENDING[..], &[PAUSE, RESUME]].concat();
    for signal in &all {
        block_signal(*signal).map_err(|e| Error::new("blocking signals", e))?;
    }
    let set = create_sigset(&all).trying("a set of signals")?;
    let say = move |what| {
        if !quiet {
            console::say(what);
        }
    };
    spawn("signals", move || {
        let mut end = None;
        loop {
            let mut number = MaybeUninit::uninit();
            // SAFETY: It reads a set that was made, and writes a number if it succeeds.
            if unsafe { libc::sigwait(&raw const set, number.as_mut_ptr()) } != 0 {
                return;
            }
            // SAFETY: It was written.
            let number = unsafe { number.assume_init() };
            // Nobody listens any more to news that cannot be sent: it ends anyway.
            match number {
                PAUSE if gate.pause() => say("the guest is paused"),
                PAUSE => {
                    let _ = news.send(Err(Error::plain("the guest cannot be paused")));
                }
                RESUME => {
                    say("the guest goes on");
                    gate.resume();
                }
                _ => {
                    let signal = End::Signal(number);
                    // The second one means that the first one's end takes too long for somebody.
                    if end.replace(signal.clone()).is_some() {
                        std::process::exit(signal.status());
                    }
                    let _ = news.send(Ok(Some(signal)));
                }
            }
        }
    })?;
    Ok(())
}

/// Has devices on PCI go on with what they left, when they say so by their numbers.
///
/// # Errors
///
/// There cannot be another thread.
pub fn go_on(rest: Rest, gate: Arc<Gate>) -> Result<()> {
    spawn("devices", move || {
        while let Ok(number) = rest.listen.recv() {
            let Some(_inside) = gate.enter() else {
                return;
            };
            if let Some(device) = rest.devices.get(number) {
                lock(device).go_on();
            }
        }
    })?;
    Ok(())
}

/// Devices that may have left something to do, and how they say so.
pub struct Rest {
    /// The devices.
    pub devices: Vec<Arc<Mutex<dyn Function>>>,
    /// Their numbers.
    pub listen: Receiver<usize>,
}

/// Gives what is typed to the guest, by a function that says how many of its bytes were taken.
///
/// # Errors
///
/// There cannot be another thread.
pub fn read_input(
    mut take: impl FnMut(&[u8]) -> usize + Send + 'static,
    news: Sender<News>,
    gate: Arc<Gate>,
) -> Result<()> {
    /// A guest that does not read has time.
    const PATIENCE: Duration = Duration::from_millis(10);
    spawn("input", move || {
        let mut input = io::stdin();
        // Only people need an escape.
        let mut keys = input.is_terminal().then(Keys::default);
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = input.read(&mut buffer) {
            let bytes = &buffer[..length];
            let bytes = match keys.as_mut().map(|keys| keys.typed(bytes)) {
                None => bytes.to_vec(),
                Some(Typed::Keys(bytes)) => bytes,
                Some(Typed::End) => {
                    let _ = news.send(Ok(Some(End::Escape)));
                    return;
                }
            };
            let mut left = &bytes[..];
            while !left.is_empty() {
                let Some(inside) = gate.enter() else {
                    return;
                };
                left = &left[take(left).min(left.len())..];
                drop(inside);
                if !left.is_empty() {
                    thread::sleep(PATIENCE);
                }
            }
        }
    })?;
    Ok(())
}

/// The thread that forks.
pub struct Forks(JoinHandle<()>);

/// Forks so often as long as the guest runs: see [`forks`].
///
/// # Errors
///
/// There cannot be another thread.
pub fn fork_every(time: Duration, guest: Arc<Guest>, news: Sender<News>) -> Result<Forks> {
    let thread = spawn("forks", move || {
        for number in 0.. {
            let Some(inside) = guest.gate.enter() else {
                return;
            };
            if let Err(error) = forks::fork(&guest.vm.memory, number, time / 2) {
                let _ = news.send(Err(error));
                return;
            }
            guest.stats.forks.add(1);
            drop(inside);
            thread::sleep(time / 2);
        }
    })?;
    Ok(Forks(thread))
}

impl Forks {
    /// Waits until there is no child any more, when everything has been stopped: each has the VM as well.
    ///
    /// # Errors
    ///
    /// It panicked.
    pub fn join(self) -> Result<()> {
        let joined = self.0.join();
        joined.map_err(|_| Error::plain("the thread that forks panicked"))
    }
}

/// A CPU's thread.
pub struct CpuThread(JoinHandle<()>);

/// Runs a CPU until there is a reason to stop, and tells it. `Ok(None)` means that another CPU knows.
///
/// # Errors
///
/// There cannot be another thread.
pub fn run_cpu(
    mut cpu: VcpuFd,
    id: u64,
    guest: Arc<Guest>,
    news: Sender<News>,
) -> Result<CpuThread> {
    let thread = spawn(&format!("cpu{id}"), move || {
        let immediate_exit = &raw mut cpu.get_kvm_run().immediate_exit;
        // SAFETY: It is mapped as long as `cpu` is there, which was made before, and goes later.
        let gate = unsafe { guest.gate.join(immediate_exit) };
        let mut faults = Faults::default();
        let end = loop {
            let Some(_inside) = gate.enter() else {
                break Ok(None);
            };
            match step(&mut cpu, &guest.vm, &guest.bus, &mut faults, &guest.stats) {
                Ok(Next::Again | Next::Interrupted) => {}
                Ok(Next::Gone) => break Ok(None),
                Ok(Next::End(end)) => break Ok(Some(end)),
                Err(error) => break Err(error),
            }
        };
        let _ = news.send(end);
    })?;
    Ok(CpuThread(thread))
}

/// Stops all CPUs.
///
/// # Errors
///
/// One does not come back from KVM_RUN.
pub fn stop(guest: &Guest, threads: Vec<CpuThread>) -> Result<()> {
    /// Longer than anything that KVM does at a time.
    const LIMIT: Duration = Duration::from_secs(30);
    guest.gate.stop();
    let began = Instant::now();
    for CpuThread(thread) in threads {
        while !thread.is_finished() {
            thread::sleep(Duration::from_millis(1));
            if began.elapsed() > LIMIT {
                return Err(Error::plain("a CPU does not come back from KVM_RUN"));
            }
        }
        thread
            .join()
            .map_err(|_| Error::plain("a CPU's thread panicked"))?;
    }
    Ok(())
}

fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let builder = thread::Builder::new().name(name.into());
    builder.spawn(f).trying("a thread")
}
