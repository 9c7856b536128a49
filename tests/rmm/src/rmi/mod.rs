// SPDX-License-Identifier: GPL-2.0

//! The commands, one function each, and the table that finds them.
//!
//! The table `COMMANDS` is the place to start: it lists every command with the states of the RMM that
//! it is allowed in and with the number of its results. [`Rmm::handle`] does the rest. [`v1`] has the
//! table of RMI 1.0.

mod absent;
mod blocks;
mod data_map;
mod dialect;
mod global;
mod granule;
mod map;
mod op;
mod realm;
mod realm_params;
mod rec;
mod recs;
mod ripas;
mod rtt;
mod run;
mod unmap;
mod v1;

use core::iter;
use core::sync::atomic::{AtomicU8, Ordering};

use kvm_arm_rmi::rmi::{Fid, Regs, ReturnCode, Status};

#[cfg(feature = "fault-injection")]
use crate::fault::Faults;
use crate::granule::GranuleTable;
use crate::platform::Platform;
use crate::sro::{Next, Operations};
use crate::vmid::Vmids;

pub use data_map::DataMap;
pub use dialect::{Dialect, Undelegated, REALM_AUX};
pub use granule::MAX_GRANULES_PER_CALL;
pub use unmap::DataUnmap;

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
        Self::failed(status.into()).results(values)
    }

    /// An answer with a status and its index, without results.
    fn failed(failure: Failure) -> Self {
        let raw = u64::from(failure.status.raw()) | u64::from(failure.index) << 8;
        Self {
            code: ReturnCode::new(raw),
            out: [0; 4],
        }
    }

    /// The same answer with results in x1 and up.
    fn results<const N: usize>(self, values: [u64; N]) -> Self {
        const { assert!(N <= 4) };
        let mut out = [0; 4];
        for (x, value) in out.iter_mut().zip(values) {
            *x = value;
        }
        Self { out, ..self }
    }

    /// The answer to a step of an operation that is to go on with `next`. At the first step, x1 is
    /// the handle.
    fn incomplete(next: Next, x1: u64) -> Self {
        Self {
            code: next.code(),
            out: [x1, next.request(), 0, 0],
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

/// How a command fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    status: Status,
    /// Bits 15:8 of the result.
    index: u8,
}

impl Failure {
    /// ERROR_RTT: a walk has ended at `level`, or something else was in its way there.
    pub(crate) fn rtt(level: i8) -> Self {
        Self {
            status: Status::ErrorRtt,
            index: level as u8,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { status, index: 0 }
    }
}

/// What a command returns: an answer, or a failure that has no results.
trait Answer {
    fn reply(self) -> Reply;
}

impl Answer for Reply {
    fn reply(self) -> Reply {
        self
    }
}

impl Answer for Result<Reply, Failure> {
    fn reply(self) -> Reply {
        self.unwrap_or_else(Reply::failed)
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
            run: |rmm, regs| Self::$run(rmm, regs).reply(),
        }),*]
    };
}

use commands;

/// The Realm Management Monitor of a machine. CPUs share one.
pub struct Rmm<'a, P> {
    platform: P,
    granules: GranuleTable<'a>,
    state: AtomicU8,
    choice: dialect::Choice,
    vmids: Vmids,
    pub(crate) operations: Operations,
    #[cfg(feature = "fault-injection")]
    pub(crate) faults: Faults,
}

impl<'a, P: Platform> Rmm<'a, P> {
    /// Every command of RMI 2.0.
    const COMMANDS: [Command<Self>; 32] = commands! {
        VERSION                     Always  2   version;
        REALM_ACTIVATE              Active  0   realm_activate;
        REALM_CREATE                Active  2   realm_create;
        REALM_DESTROY               Active  1   realm_destroy;
        REALM_TERMINATE             Active  0   realm_terminate;
        REC_CREATE                  Active  2   rec_create;
        REC_DESTROY                 Active  1   rec_destroy;
        REC_ENTER                   Active  0   rec_enter;
        PSCI_COMPLETE               Active  0   psci_complete;
        OP_CONTINUE                 Active  3   op_continue;
        OP_MEM_DONATE               Active  2   op_mem_donate;
        OP_MEM_RECLAIM              Active  1   op_mem_reclaim;
        OP_CANCEL                   Active  0   op_cancel;
        RTT_CREATE                  Active  0   rtt_create;
        RTT_DATA_MAP                Active  1   data_map;
        RTT_DATA_MAP_INIT           Active  0   data_map_init;
        RTT_DATA_UNMAP              Active  3   data_unmap;
        RTT_DESTROY                 Active  2   rtt_destroy;
        RTT_FOLD                    Active  1   rtt_fold;
        RTT_INIT_RIPAS              Active  1   init_ripas;
        RTT_READ_ENTRY              Active  4   rtt_read_entry;
        RTT_SET_RIPAS               Active  1   set_ripas;
        RTT_UNPROT_MAP              Active  1   unprot_map;
        RTT_UNPROT_UNMAP            Active  3   unprot_unmap;
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
            choice: dialect::Choice::new(),
            vmids: Vmids::new(),
            operations: Operations::new(),
            #[cfg(feature = "fault-injection")]
            faults: Faults::new(),
        }
    }

    /// The platform under this RMM.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// The faults that are to come.
    #[cfg(feature = "fault-injection")]
    pub fn faults(&self) -> &Faults {
        &self.faults
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
        #[cfg(feature = "fault-injection")]
        return self.execute_with_faults(fid(regs.x(0)), regs);
        #[cfg(not(feature = "fault-injection"))]
        self.execute(regs);
    }

    /// Carries out the call as [`Self::handle`] says.
    pub(crate) fn execute(&self, regs: &mut Regs) {
        let call = *regs;
        let fid = fid(call.x(0));
        let is_it = |command: &Command<Self>| command.fid == fid;
        let (command, absent) = if self.is_v1() {
            (Self::V1_COMMANDS.into_iter().find(is_it), None)
        } else {
            let command = Self::COMMANDS.into_iter().find(is_it);
            (command, absent::answer(fid, self.state()))
        };
        let (reply, results) = match command {
            None => (absent.unwrap_or(Reply::unknown()), 0),
            Some(c) if !c.when.allows(self.state()) => (Reply::new(Status::ErrorGlobal), 0),
            Some(c) => ((c.run)(self, &call), c.results),
        };

        // x4 is a result only of what has succeeded; otherwise SMCCC has it preserved.
        let results = match reply.code.status() {
            Status::Success => results,
            _ => results.min(CLEARED.saturating_sub(1)),
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
