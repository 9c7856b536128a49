// SPDX-License-Identifier: GPL-2.0

//! What the hardware, and EL3, have to do for the state machine.

use crate::features::CpuId;
use crate::granule::{Delegated, Locked, Undelegated};

/// 64-bit words in a granule.
pub const GRANULE_WORDS: usize = 512;
const _: () = assert!(GRANULE_WORDS * 8 == 1 << kvm_arm_rmi::GRANULE_SHIFT);

/// The contents of a granule.
pub type GranuleData = [u64; GRANULE_WORDS];

/// EL3 did not change the GPT: the granule was not in the address space that the change needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GptRefused;

/// The machine under the RMM.
///
/// Several CPUs call at once. A method that takes a [`Locked`] granule is the only user of that
/// granule until it returns, on the RMM's side; the host may write to an undelegated granule at any
/// moment.
pub trait Platform {
    /// The CPU's identification registers, the same on every CPU.
    fn cpu_id(&self) -> CpuId;

    /// Moves the granule from the Non-secure to the Realm physical address space.
    ///
    /// # Errors
    ///
    /// [`GptRefused`] if the granule is not in the Non-secure space; then nothing has changed.
    fn gpt_delegate(&self, granule: &Locked<'_, Undelegated>) -> Result<(), GptRefused>;

    /// Moves the granule from the Realm to the Non-secure physical address space.
    ///
    /// # Errors
    ///
    /// [`GptRefused`] if the granule is not in the Realm space; then nothing has changed.
    fn gpt_undelegate(&self, granule: &Locked<'_, Delegated>) -> Result<(), GptRefused>;

    /// Fills the granule with zeroes.
    fn scrub(&self, granule: &Locked<'_, Delegated>);

    /// Reads the first words of the granule, as many as `words` holds, each of them once.
    fn read(&self, granule: &Locked<'_, Undelegated>, words: &mut [u64]);

    /// Fills the granule with `data`.
    fn write(&self, granule: &Locked<'_, Undelegated>, data: &GranuleData);

    /// True if an interrupt waits for this CPU to return to the host.
    fn interrupt_pending(&self) -> bool;
}
