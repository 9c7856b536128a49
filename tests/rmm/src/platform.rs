// SPDX-License-Identifier: GPL-2.0

//! What the hardware, and EL3, have to do for the state machine.

use core::ops::Range;

use crate::features::CpuId;
use crate::granule::{Delegated, Held, Locked, Undelegated};
pub use crate::rec::context::LIST_REGISTERS;
use crate::rec::{Context, Trap};

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
/// Several CPUs call at once. A method that takes a [`Locked`] or [`Held`] granule is the only user
/// of that granule until it returns, on the RMM's side; the host may write to an undelegated
/// granule at any moment.
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

    /// Runs `f` on the contents of a granule of the RMM's, and returns what it returns.
    ///
    /// What `f` wrote has reached every observer when this returns, the translation table walkers of
    /// all CPUs included. `f` may call this method on other granules.
    fn with<G: Held, R>(&self, granule: &mut G, f: impl FnOnce(&mut GranuleData) -> R) -> R;

    /// Reads words of the granule from number `first` on, as many as `words` holds, each of them
    /// once. `first` and the length of `words` stay within the granule.
    fn read(&self, granule: &Locked<'_, Undelegated>, first: usize, words: &mut [u64]);

    /// Writes words of the granule from number `first` on. `first` and the length of `words` stay
    /// within the granule.
    fn write(&self, granule: &Locked<'_, Undelegated>, first: usize, words: &[u64]);

    /// Makes every CPU forget how stage 2 with this VMID translated `ipa`, the entries of tables that
    /// lead there included. Entries that the tables have now may be used again when it returns.
    fn invalidate_stage2(&self, vmid: u16, ipa: Range<u64>);

    /// 64 bits that nobody can guess.
    fn random(&self) -> u64;

    /// True if an interrupt waits for this CPU to return to the host.
    fn interrupt_pending(&self) -> bool;

    /// Enters the realm at EL1 with the registers in `ctx`, stage 2 on, and comes back at the next
    /// exception to Realm EL2, with the realm's registers in `ctx`.
    ///
    /// The registers that are not in `ctx` and that the realm can read or change are those of the
    /// host again when this returns, except for what [`Self::leave`] is there for. Floating point, and
    /// SVE as far as `ctx` grants it, never come back as a trap.
    fn run(&self, ctx: &mut Context) -> Trap;

    /// Ends a series of calls of [`Self::run`] with the same `ctx`: what the platform has left in the
    /// CPU from one to the next goes back into its granules or into `ctx`, and the virtual CPU interface of
    /// the interrupt controller is off (ICH_HCR_EL2.En).
    fn leave(&self, ctx: &mut Context);

    /// ICH_LR0_EL2 and up as the host has programmed them on this CPU, 0 for those that do not exist.
    fn list_registers(&self) -> [u64; LIST_REGISTERS];

    /// ICH_VTR_EL2: what the interrupt controller's virtual CPU interface can do.
    fn gic_vtr(&self) -> u64;

    /// True if there are interrupts of the extended ranges (ICC_CTLR_EL1.ExtRange).
    fn gic_has_extended_range(&self) -> bool;

    /// The physical count, CNTPCT_EL0.
    fn counter(&self) -> u64;

    /// The CPU's own value of the identification register with op0 = 3, op1 = 0, CRn = 0 and the
    /// given CRm (1 to 7) and op2. 0 if it has none.
    fn id_register(&self, crm: u8, op2: u8) -> u64;
}
