// SPDX-License-Identifier: GPL-2.0

//! The threads of a run: one for each CPU, one that waits for signals, one that reads what is
//! typed. They tell the main thread when something ends.

use std::io::{self, IsTerminal, Read};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kvm_ioctls::VcpuFd;
use vmm_sys_util::signal::{
    block_signal,
    create_sigset,
    register_signal_handler,
    Killable,
    SIGRTMIN, //
};

use super::exits::{step, Faults, Next};
use super::vm::Vm;
use crate::bus::Bus;
use crate::end::{End, News};
use crate::error::{Error, Result, Trying};
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
    /// CPUs that are interrupted are to stop.
    pub stop: AtomicBool,
}

/// Signals that end the guest.
const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Takes the signals that end us from all threads that come later, and waits for them in one. The
/// second signal ends the process on the spot.
///
/// # Errors
///
/// The kernel does not want to.
pub fn wait_for_signals(news: Sender<News>) -> Result<()> {
    for signal in ENDING {
        block_signal(signal).map_err(|e| Error::new("blocking signals", e))?;
    }
    let set = create_sigset(&ENDING).trying("a set of signals")?;
    spawn("signals", move || {
        let mut end = None;
        loop {
            let mut number = MaybeUninit::uninit();
            // SAFETY: It reads a set that was made, and writes a number if it succeeds.
            if unsafe { libc::sigwait(&raw const set, number.as_mut_ptr()) } != 0 {
                return;
            }
            // SAFETY: It was written.
            let signal = End::Signal(unsafe { number.assume_init() });
            // The second one means that the first one's end takes too long for somebody.
            if end.replace(signal.clone()).is_some() {
                std::process::exit(signal.status());
            }
            // Nobody listens any more: it ends anyway.
            let _ = news.send(Ok(Some(signal)));
        }
    })?;
    Ok(())
}

/// Gives what is typed to the guest, by a function that says how many of its bytes were taken.
///
/// # Errors
///
/// There cannot be another thread.
pub fn read_input(
    mut take: impl FnMut(&[u8]) -> usize + Send + 'static,
    news: Sender<News>,
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
                left = &left[take(left).min(left.len())..];
                if !left.is_empty() {
                    thread::sleep(PATIENCE);
                }
            }
        }
    })?;
    Ok(())
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
        let mut faults = Faults::default();
        let end = loop {
            if guest.stop.load(Ordering::Acquire) {
                break Ok(None);
            }
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
    guest.stop.store(true, Ordering::Release);
    let began = Instant::now();
    for CpuThread(thread) in threads {
        // A signal that comes between its look at `stop` and KVM_RUN is lost: the next one is not.
        while !thread.is_finished() {
            let _ = thread.kill(SIGRTMIN());
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

/// Has the signal that [`stop`] sends interrupt KVM_RUN, and do nothing else.
///
/// # Errors
///
/// The kernel does not want to.
pub fn prepare_kicks() -> Result<()> {
    extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    register_signal_handler(SIGRTMIN(), nothing).trying("sigaction")
}

fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let builder = thread::Builder::new().name(name.into());
    builder.spawn(f).trying("a thread")
}
