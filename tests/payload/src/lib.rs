// SPDX-License-Identifier: GPL-2.0

//! What the probe and the payload in its realms agree on.
//!
//! The payload has two parts to play, and the REC's X0 says which: a *puppet* does in the realm
//! whatever the probe tells it to ([`puppet`]), a *worker* goes through a fixed programme by itself
//! ([`work`]).

#![no_std]

mod layout;
mod smc;

pub use layout::{BASE, PAGES, PAGE_SIZE, RECS, STACK_SHIFT};
pub use smc::smc;

/// Function identifiers of the RSI and of PSCI, as a realm uses them.
pub mod fid {
    /// RSI_VERSION.
    pub const VERSION: u64 = 0xc400_0190;
    /// RSI_FEATURES.
    pub const FEATURES: u64 = 0xc400_0191;
    /// RSI_MEASUREMENT_READ.
    pub const MEASUREMENT_READ: u64 = 0xc400_0192;
    /// RSI_MEASUREMENT_EXTEND.
    pub const MEASUREMENT_EXTEND: u64 = 0xc400_0193;
    /// RSI_ATTESTATION_TOKEN_INIT.
    pub const TOKEN_INIT: u64 = 0xc400_0194;
    /// RSI_ATTESTATION_TOKEN_CONTINUE.
    pub const TOKEN_CONTINUE: u64 = 0xc400_0195;
    /// RSI_REALM_CONFIG.
    pub const REALM_CONFIG: u64 = 0xc400_0196;
    /// RSI_IPA_STATE_SET.
    pub const IPA_STATE_SET: u64 = 0xc400_0197;
    /// RSI_IPA_STATE_GET.
    pub const IPA_STATE_GET: u64 = 0xc400_0198;
    /// RSI_HOST_CALL.
    pub const HOST_CALL: u64 = 0xc400_0199;

    /// PSCI_VERSION.
    pub const PSCI_VERSION: u64 = 0x8400_0000;
    /// CPU_SUSPEND, 64 bit.
    pub const CPU_SUSPEND: u64 = 0xc400_0001;
    /// CPU_OFF.
    pub const CPU_OFF: u64 = 0x8400_0002;
    /// CPU_ON, 64 bit.
    pub const CPU_ON: u64 = 0xc400_0003;
    /// AFFINITY_INFO, 64 bit.
    pub const AFFINITY_INFO: u64 = 0xc400_0004;
    /// SYSTEM_OFF.
    pub const SYSTEM_OFF: u64 = 0x8400_0008;
    /// SYSTEM_RESET.
    pub const SYSTEM_RESET: u64 = 0x8400_0009;
    /// PSCI_FEATURES.
    pub const PSCI_FEATURES: u64 = 0x8400_000a;
}

/// X0 of a REC: the number of its stack and host-call area, and what it plays.
pub mod role {
    /// The REC's number, below [`crate::RECS`].
    pub const REC: u64 = 0xff;
    /// Play the worker instead of the puppet.
    pub const WORKER: u64 = 1 << 8;
}

/// The talk between the probe and a puppet, all of it in host calls.
///
/// The puppet makes host call [`READY`](puppet::READY). The host's answer has an operation in gprs[0]
/// and its arguments in those above. The puppet carries it out and makes host call
/// [`DONE`](puppet::DONE) with the results in gprs[0] and above, which the host answers with the
/// next operation.
pub mod puppet {
    /// Immediate of the first host call; gprs[0] is X0 of the REC, gprs[1] a page that is there to
    /// be written to.
    pub const READY: u64 = 0x100;
    /// Immediate of the host calls with results.
    pub const DONE: u64 = 0x101;

    /// Calls the RMM. Arguments and results: X0 to X17.
    pub const SMC: u64 = 1;
    /// Loads. Arguments: address, bytes. Results: the value, and the syndrome of an exception or 0.
    pub const LOAD: u64 = 2;
    /// Stores. Arguments: address, bytes, value. Results: 0, syndrome.
    pub const STORE: u64 = 3;
    /// Loads a signed 32-bit word into X0. Argument: address. Results: as a load.
    pub const LOAD_SIGNED: u64 = 4;
    /// Loads two words with one instruction, of which no syndrome tells the host. Argument:
    /// address. Results: the first word, syndrome.
    pub const LOAD_PAIR: u64 = 5;
    /// Executes HVC. Results: 0, syndrome.
    pub const HVC: u64 = 6;
    /// Executes WFI. Results: 0, syndrome.
    pub const WFI: u64 = 7;
    /// Jumps to an address. Argument: address. Results: 0, syndrome.
    pub const JUMP: u64 = 8;
    /// Sends a software-generated interrupt. Argument: ICC_SGI1R_EL1. Results: 0, syndrome.
    pub const SGI: u64 = 9;
    /// Stores 1 at an address, and waits until something else is there. Argument: address. Results:
    /// what is there then, 0.
    pub const WAIT: u64 = 10;
}

/// The talk of the workers. Immediates of their host calls; the host answers gprs[0].
pub mod work {
    /// A REC starts. gprs[0] is its number; the answer is the number of the round.
    pub const START: u64 = 0x200;
    /// A REC is through with the programme. gprs[0] is its number, gprs[1] a set of [`step`]s that
    /// worked.
    pub const REPORT: u64 = 0x201;

    /// A host call for its own sake. The answer is gprs[0] with all bits flipped.
    pub const ECHO: u64 = 0x202;

    /// IPA width of the workers' realm.
    pub const IPA_BITS: u32 = 39;

    /// Parts of a worker's programme, as bits.
    pub mod step {
        /// A computation gave the right result.
        pub const COMPUTE: u64 = 1 << 0;
        /// RSI_VERSION, RSI_FEATURES and RSI_REALM_CONFIG say what they should.
        pub const IDENTIFY: u64 = 1 << 1;
        /// A measurement was extended, and changed.
        pub const MEASURE: u64 = 1 << 2;
        /// A host call came back with the right answer.
        pub const CALL: u64 = 1 << 3;
        /// A page was given up, and taken back zeroed.
        pub const RIPAS: u64 = 1 << 4;
        /// Emulated registers outside the protected half were written and read.
        pub const EMULATE: u64 = 1 << 5;
        /// A timer interrupt arrived.
        pub const TIMER: u64 = 1 << 6;
        /// The other RECs were turned on (first REC), or this one was (all others).
        pub const ON: u64 = 1 << 7;

        /// All of them.
        pub const ALL: u64 = 0xff;
    }

    /// The IPA of the emulated registers, relative to the start of the unprotected half.
    pub const DEVICE: u64 = 0x1000;
    /// The IPA of the pages that the workers give up and take back, one for each.
    pub const SPARE: u64 = 0x6220_0000;
}
