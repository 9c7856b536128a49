// SPDX-License-Identifier: GPL-2.0

//! The commands, one function each, and the table that finds them.
//!
//! The table `COMMANDS` is the place to start: it lists every command with the states of the RMM that
//! it is allowed in and with the number of its results. [`Rmm::handle`] does the rest.

mod global;
mod granule;

use core::iter;
use core::sync::atomic::{AtomicU8, Ordering};

use kvm_arm_rmi::rmi::{Fid, Regs, ReturnCode, Status};

use crate::granule::GranuleTable;
use crate::platform::Platform;

pub use granule::MAX_GRANULES_PER_CALL;

/// The version of the interface: major number in bits 30:16, minor number in bits 15:0.
pub const RMI_VERSION: u64 = 2 << 16;

/// The bit of a function identifier by which SMCCC 1.3 callers say that SVE state may be lost.
const SVE_HINT: u32 = 1 << 16;

/// Registers that never keep an argument: x0 to x3. SMCCC has the rest preserved.
const CLEARED: usize = 4;

/// What an RMM is doing, `RmmState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// Booted; the host may still configure it.
    Init = 0,
    /// Activated: realms are possible.
    Active = 1,
}

/// The states of the RMM in which a command is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    Always,
    Init,
    Active,
}

impl When {
    fn allows(self, state: State) -> bool {
        match self {
            When::Always => true,
            When::Init => state == State::Init,
            When::Active => state == State::Active,
        }
    }
}

/// The answer to a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reply {
    code: ReturnCode,
    /// x1 to x4, of which the command's entry in the table says how many there are.
    out: [u64; 4],
}

impl Reply {
    /// An answer with a status alone.
    fn new(status: Status) -> Self {
        Self::with(status, [])
    }

    /// An answer with results in x1 and up.
    fn with<const N: usize>(status: Status, values: [u64; N]) -> Self {
        const { assert!(N <= 4) };
        let mut out = [0; 4];
        for (x, value) in out.iter_mut().zip(values) {
            *x = value;
        }
        Self {
            code: ReturnCode::new(u64::from(status.raw())),
            out,
        }
    }

    /// The answer to a function that the RMM does not have.
    fn unknown() -> Self {
        Self {
            code: ReturnCode::NOT_FORWARDED,
            out: [0; 4],
        }
    }
}

/// One line of the command table of an RMM of type `R`.
struct Command<R> {
    fid: Fid,
    when: When,
    /// Results in x1 and up.
    results: usize,
    run: fn(&R, &Regs) -> Reply,
}

/// Makes a command table from its lines: the command, the states of the RMM in which it is allowed
/// (see [`When`]), the number of its results in x1 and up, and the function that carries it out.
macro_rules! commands {
    ($($fid:ident $when:ident $results:literal $run:ident;)*) => {
        [$(Command {
            fid: Fid::$fid,
            when: When::$when,
            results: $results,
            run: Self::$run,
        }),*]
    };
}

/// The Realm Management Monitor of a machine. CPUs share one.
pub struct Rmm<'a, P> {
    platform: P,
    granules: GranuleTable<'a>,
    state: AtomicU8,
}

impl<'a, P: Platform> Rmm<'a, P> {
    /// Every command there is.
    const COMMANDS: [Command<Self>; 9] = commands! {
        VERSION                     Always  2   version;
        FEATURES                    Always  1   features;
        RMM_CONFIG_SET              Init    0   config_set;
        RMM_CONFIG_GET              Always  0   config_get;
        RMM_ACTIVATE                Init    0   activate;
        GRANULE_TRACKING_GET        Always  3   tracking_get;
        GRANULE_RANGE_DELEGATE      Active  1   range_delegate;
        GRANULE_RANGE_UNDELEGATE    Active  1   range_undelegate;
        GPT_L1_CREATE               Active  0   gpt_l1_create;
    };

    /// An RMM that has just booted: [`State::Init`], all memory as `granules` has it.
    pub const fn new(platform: P, granules: GranuleTable<'a>) -> Self {
        Self {
            platform,
            granules,
            state: AtomicU8::new(State::Init as u8),
        }
    }

    /// The platform under this RMM.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// The states of the granules.
    pub fn granules(&self) -> &GranuleTable<'a> {
        &self.granules
    }

    /// The state of the RMM.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Init,
            _ => State::Active,
        }
    }

    /// Carries out the call in `regs` and leaves its results there.
    ///
    /// x0 has the function identifier on entry and the `RmiResult` on return. x1 to x3 return the
    /// results, or 0 where the command has none; x4 and up are preserved unless they are results.
    /// In this order: a function that the RMM does not have returns all ones in x0 (SMCCC
    /// NOT_SUPPORTED); one that the state of the RMM does not allow returns ERROR_GLOBAL.
    ///
    /// Any number of CPUs may call at once.
    pub fn handle(&self, regs: &mut Regs) {
        let call = *regs;
        let command = Self::COMMANDS
            .into_iter()
            .find(|command| command.fid == fid(call.x(0)));
        let (reply, results) = match command {
            None => (Reply::unknown(), 0),
            Some(c) if !c.when.allows(self.state()) => (Reply::new(Status::ErrorGlobal), 0),
            Some(c) => ((c.run)(self, &call), c.results),
        };

        regs.0.iter_mut().take(CLEARED).for_each(|x| *x = 0);
        let values = iter::once(reply.code.raw()).chain(reply.out.into_iter().take(results));
        for (x, value) in regs.0.iter_mut().zip(values) {
            *x = value;
        }
    }
}

/// The function identifier in x0: its lower half, without the hint about SVE.
fn fid(x0: u64) -> Fid {
    let [b0, b1, b2, b3, ..] = x0.to_le_bytes();
    Fid::from_raw(u32::from_le_bytes([b0, b1, b2, b3]) & !SVE_HINT)
}
