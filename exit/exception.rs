// SPDX-License-Identifier: GPL-2.0

//! What a synchronous exit can tell.

/// An instruction that the host has to deal with. Syndromes are as KVM may take them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sync {
    /// An access at an IPA where the tables do not allow it.
    Fault(Fault),
    /// An access that the memory system has answered with an error. Where is not known.
    ExternalAbort {
        /// The syndrome.
        esr: u64,
        /// The RMM has the realm take an abort; otherwise it makes the same access again.
        told: bool,
    },
    /// A system register. The RMM has advanced the PC.
    Sysreg(Sysreg),
    /// WFI or WFE. The RMM has advanced the PC.
    Wait {
        /// The syndrome.
        esr: u64,
    },
    /// Something else. The RMM says little about what it does not know.
    Unknown {
        /// The syndrome.
        esr: u64,
    },
}

/// An access to a system register. KVM finds the value to write in x0 of the vCPU, and leaves the
/// value that it has read there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sysreg {
    /// The syndrome. Its register is number 0.
    pub esr: u64,
    /// What the realm writes; `None` if it reads.
    pub written: Option<u64>,
}

impl Sync {
    /// What the realm writes, to memory or to a system register.
    pub(super) fn written(&self) -> Option<u64> {
        match self {
            Self::Fault(fault) => match fault.access {
                Access::Write(value) => Some(value),
                Access::Read | Access::Execute | Access::Opaque => None,
            },
            Self::Sysreg(trap) => trap.written,
            Self::ExternalAbort { .. } | Self::Wait { .. } | Self::Unknown { .. } => None,
        }
    }
}

/// An access at an IPA where the tables do not allow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The syndrome as KVM may take it. Where the RMM does not say whether it was a write, a
    /// permission fault is one, since what is mapped can always be read.
    pub esr: u64,
    /// The IPA of the granule, without the bit that tells the halves apart.
    pub ipa: u64,
    /// The offset of the access in the granule, as far as the RMM tells it.
    pub offset: u64,
    /// The half of the IPA space.
    pub half: Half,
    /// What is known of the access.
    pub access: Access,
}

/// A half of a realm's IPA space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// What only the realm sees.
    Protected,
    /// What the host sees as well.
    Unprotected,
}

/// What is known of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load that can be emulated. KVM leaves the value in x0 of the vCPU; the RMM extends it.
    Read,
    /// A store that can be emulated, with its value, which KVM finds in x0 of the vCPU.
    Write(u64),
    /// An instruction fetch.
    Execute,
    /// A load or store that cannot be emulated.
    Opaque,
}

/// What cannot be true of an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// An access outside of the realm's IPA space.
    Outside {
        /// The IPA.
        ipa: u64,
    },
    /// An instruction fetch from an unprotected IPA, which the RMM deals with itself.
    Fetch {
        /// The IPA.
        ipa: u64,
    },
    /// A RIPAS change of what is not a range of protected granules, or to something that a realm
    /// cannot ask for.
    Ripas {
        /// First IPA.
        base: u64,
        /// First IPA after it.
        top: u64,
        /// What it is to become.
        value: u8,
    },
}
