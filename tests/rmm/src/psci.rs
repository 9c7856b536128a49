// SPDX-License-Identifier: GPL-2.0

//! PSCI 1.1 for realms: the calls of a realm, and the host's part in them.
//!
//! The RMM knows which RECs are on. It asks the host where another REC takes part, because only the
//! host can say that it does not run: CPU_ON waits for [`complete`], and so does AFFINITY_INFO in all
//! [`Dialect`]s but one. The host is told of what it should act upon.

use kvm_arm_rmi::rmi::{PhysAddr, Status};

use crate::granule;
use crate::platform::Platform;
use crate::rd::State;
use crate::rec::exit::Reason;
use crate::rec::{Rec, Running};
use crate::rmi::Dialect;
use crate::rsi::Answer;

const VERSION: u64 = 0x8400_0000;
const CPU_SUSPEND: u64 = 0x8400_0001;
const CPU_OFF: u64 = 0x8400_0002;
const CPU_ON: u64 = 0x8400_0003;
const AFFINITY_INFO: u64 = 0x8400_0004;
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;
const FEATURES: u64 = 0x8400_000a;
/// The last function that the RMM takes for one of PSCI.
const LAST: u64 = 0x8400_0014;
/// The bit of a function identifier that says that arguments have 64 bits.
const SMC64: u64 = 1 << 30;

const CPU_SUSPEND_64: u64 = CPU_SUSPEND | SMC64;
const CPU_ON_64: u64 = CPU_ON | SMC64;
const AFFINITY_INFO_64: u64 = AFFINITY_INFO | SMC64;
const SMCCC_VERSION: u64 = 0x8000_0000;

const VERSION_1_1: u64 = 1 << 16 | 1;

/// PSCI's own codes.
const SUCCESS: u64 = 0;
const NOT_SUPPORTED: u64 = 0u64.wrapping_sub(1);
const INVALID_PARAMETERS: u64 = 0u64.wrapping_sub(2);
const DENIED: u64 = 0u64.wrapping_sub(3);
const ALREADY_ON: u64 = 0u64.wrapping_sub(4);
const INVALID_ADDRESS: u64 = 0u64.wrapping_sub(9);
/// What AFFINITY_INFO says.
const ON: u64 = 0;
const OFF: u64 = 1;

/// True if the function with this identifier is answered here.
pub(crate) fn is_function(number: u64) -> bool {
    (VERSION..=LAST).contains(&(number & !SMC64))
}

/// The number of the REC that has this MPIDR_EL1 in its realm. Fields that RECs do not use are
/// ignored.
fn rec_index(mpidr: u64) -> u64 {
    mpidr & 0xf | mpidr >> 4 & 0xf_fff0 | mpidr >> 12 & 0xff0_0000
}

impl<P: Platform> Running<'_, '_, P> {
    /// Carries out the call whose function identifier is in x0.
    pub(crate) fn psci(&mut self) -> Answer {
        // As in TF-RMM, the hint about SVE makes another function of it here.
        match self.gpr(0) & 0xffff_ffff {
            VERSION => Answer::code(VERSION_1_1),
            CPU_SUSPEND | CPU_SUSPEND_64 => {
                self.tell_host(1);
                // Every power state is a wait for an interrupt, which has come when the call returns.
                Answer::ReturnAndExit([SUCCESS, 0, 0, 0])
            }
            CPU_OFF => {
                self.rec.set_runnable(false);
                self.tell_host(1);
                Answer::ReturnAndExit([SUCCESS, 0, 0, 0])
            }
            CPU_ON | CPU_ON_64 => self.cpu_on(),
            AFFINITY_INFO | AFFINITY_INFO_64 => self.affinity_info(),
            SYSTEM_OFF | SYSTEM_RESET => {
                // No REC of the realm runs again. To start it anew is to make another realm.
                self.with_rd(|rd| rd.set_state(State::SystemOff));
                self.tell_host(1);
                Answer::Exit
            }
            FEATURES => Answer::code(features(self.gpr(1) & 0xffff_ffff)),
            _ => Answer::code(NOT_SUPPORTED),
        }
    }

    /// CPU_ON. x1: MPIDR of the CPU. x2: where it starts. x3: what it gets in x0.
    fn cpu_on(&mut self) -> Answer {
        if !self.realm.stage2.is_protected(self.gpr(2)) {
            return Answer::code(INVALID_ADDRESS);
        }
        let target = rec_index(self.gpr(1));
        if target == self.rec.index() {
            return Answer::code(ALREADY_ON);
        }
        self.ask_host(target)
    }

    /// AFFINITY_INFO. x1: MPIDR of the CPU. x2: the affinity level, 0.
    fn affinity_info(&mut self) -> Answer {
        if self.gpr(2) != 0 {
            return Answer::code(INVALID_PARAMETERS);
        }
        let target = rec_index(self.gpr(1));
        if target == self.rec.index() {
            return Answer::code(ON);
        }
        match self.rmm.dialect() {
            Dialect::Main | Dialect::V1 => self.ask_host(target),
            Dialect::Bet2 => Answer::code(if self.is_on(target) { ON } else { OFF }),
        }
    }

    /// True if the realm has REC number `target` and that is on.
    fn is_on(&self, target: u64) -> bool {
        let Some(pa) = self.find_rec(target) else {
            return false;
        };
        // The host may have taken it down by now, and have made another realm's of it.
        let Some(mut granule) = self.rmm.granules().lock::<granule::Rec>(pa) else {
            return false;
        };
        let runs = granule.count() != 0;
        let rd = self.rec.rd();
        self.rmm.platform().with(&mut granule, |data| {
            let rec = Rec::view(data);
            rec.rd() == rd && (runs || rec.is_runnable())
        })
    }

    /// Where REC number `index` of the realm is, if there is one.
    fn find_rec(&self, index: u64) -> Option<PhysAddr> {
        let mut rd = self.rmm.granules().own::<granule::Rd>(self.rec.rd());
        self.rmm.find_rec(&mut rd, index)
    }

    /// Leaves a call about REC number `target`, another one, to the host.
    fn ask_host(&mut self, target: u64) -> Answer {
        let known = match self.rmm.dialect() {
            Dialect::Main | Dialect::V1 => target < self.with_rd(|rd| rd.recs),
            Dialect::Bet2 => {
                let found = self.find_rec(target);
                self.rec.set_psci_target(found.unwrap_or(PhysAddr::new(0)));
                found.is_some()
            }
        };
        if !known {
            return Answer::code(INVALID_PARAMETERS);
        }
        self.rec.set_psci_pending(true);
        self.tell_host(2);
        Answer::Exit
    }

    /// Exits to the host with the first `count` registers of the call.
    fn tell_host(&mut self, count: usize) {
        self.exit.set_reason(Reason::Psci);
        self.exit.gprs.fill(0);
        let registers = self.exit.gprs.iter_mut().zip(self.rec.context.gprs);
        for (to, from) in registers.take(count) {
            *to = from;
        }
    }
}

/// PSCI_FEATURES. TF-RMM leaves PSCI_VERSION out.
fn features(number: u64) -> u64 {
    match number {
        CPU_SUSPEND | CPU_SUSPEND_64 | CPU_OFF | CPU_ON | CPU_ON_64 | AFFINITY_INFO
        | AFFINITY_INFO_64 | SYSTEM_OFF | SYSTEM_RESET | FEATURES | SMCCC_VERSION => SUCCESS,
        _ => NOT_SUPPORTED,
    }
}

/// How the host has let a PSCI call end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Completion {
    /// What PSCI_COMPLETE returns.
    pub(crate) status: Status,
    /// True if the other REC starts.
    pub(crate) start: bool,
}

/// Ends the call that `caller` waits with as the host has decided in `status`, a PSCI code. The call is
/// about another REC of the realm, which is on or not.
///
/// # Errors
///
/// [`Status::ErrorInput`] if the call cannot end with `status`. The caller then waits on.
pub(crate) fn complete(caller: &mut Rec, is_on: bool, status: u64) -> Result<Completion, Status> {
    let mut completion = Completion {
        status: Status::Success,
        start: false,
    };
    let [function, ..] = caller.context.gprs;
    let answer = match (function & 0xffff_ffff & !SMC64, status) {
        (CPU_ON, SUCCESS) if is_on => ALREADY_ON,
        (CPU_ON, SUCCESS) => {
            completion.start = true;
            SUCCESS
        }
        (CPU_ON, DENIED) if is_on => {
            // The host must not deny what has already happened: it is told, and the call ends.
            completion.status = Status::ErrorInput;
            ALREADY_ON
        }
        (CPU_ON, DENIED) => DENIED,
        (AFFINITY_INFO, SUCCESS) if is_on => ON,
        (AFFINITY_INFO, SUCCESS) => OFF,
        _ => return Err(Status::ErrorInput),
    };
    for (register, value) in caller.context.gprs.iter_mut().zip([answer, 0, 0, 0]) {
        *register = value;
    }
    caller.set_psci_pending(false);
    Ok(completion)
}

/// True if the call that `caller` waits with is about REC number `index`.
pub(crate) fn is_about(caller: &Rec, index: u64) -> bool {
    let [_, mpidr, ..] = caller.context.gprs;
    rec_index(mpidr) == index
}
