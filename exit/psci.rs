// SPDX-License-Identifier: GPL-2.0

//! PSCI calls. The RMM carries them out; the host is told of those that it has a part in, and what
//! KVM's PSCI would have answered goes nowhere.

use crate::rmi::run;
use crate::rmi::SharedPage;

const CPU_SUSPEND: u32 = 0x8400_0001;
const CPU_OFF: u32 = 0x8400_0002;
const CPU_ON: u32 = 0x8400_0003;
const AFFINITY_INFO: u32 = 0x8400_0004;
const SYSTEM_OFF: u32 = 0x8400_0008;
const SYSTEM_RESET: u32 = 0x8400_0009;
const SYSTEM_RESET2: u32 = 0x8400_0012;
/// The bit of a function identifier that says that arguments have 64 bits.
pub(super) const SMC64: u32 = 1 << 30;

/// The fields of an MPIDR that the RMM looks at: Aff3 to Aff0, of which it uses 4 bits.
const MPIDR: u64 = 0xff_00ff_ff0f;

/// A PSCI call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Psci {
    /// CPU_SUSPEND: the vCPU waits for an interrupt.
    Suspend,
    /// CPU_OFF: the vCPU stops, unless another turns it on again at this very moment: see
    /// [`crate::rec`].
    Off,
    /// A call about another vCPU, which has to be completed before the vCPU can go on:
    /// [`crate::rec::Vcpu::complete_psci`].
    Ask(PsciCall),
    /// SYSTEM_OFF: no REC of the realm runs again.
    SystemOff,
    /// SYSTEM_RESET and SYSTEM_RESET2: the same, and the VMM may make another realm.
    SystemReset,
    /// One that no RMM tells the host about. There is nothing to do.
    Unknown {
        /// The function identifier.
        function: u32,
    },
}

/// A PSCI call about another vCPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PsciCall {
    /// What the realm wants.
    pub question: Question,
    target: u64,
}

/// What a realm wants of another vCPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// CPU_ON.
    TurnOn,
    /// AFFINITY_INFO.
    State,
}

impl Psci {
    pub(super) fn decode<P: SharedPage>(report: &run::Exit<'_, P>) -> Self {
        let [a, b, c, d, ..] = report.gpr(0).to_le_bytes();
        let function = u32::from_le_bytes([a, b, c, d]);
        let ask = |question| {
            Self::Ask(PsciCall {
                question,
                target: report.gpr(1) & MPIDR,
            })
        };
        match function & !SMC64 {
            CPU_SUSPEND => Self::Suspend,
            CPU_OFF => Self::Off,
            CPU_ON => ask(Question::TurnOn),
            AFFINITY_INFO => ask(Question::State),
            SYSTEM_OFF => Self::SystemOff,
            SYSTEM_RESET | SYSTEM_RESET2 => Self::SystemReset,
            _ => Self::Unknown { function },
        }
    }
}

impl PsciCall {
    /// The MPIDR of the vCPU that the call is about. Fields that the RMM ignores are 0, whatever the
    /// realm has put there: so it is the MPIDR that the REC was created with.
    pub fn target(&self) -> u64 {
        self.target
    }
}
