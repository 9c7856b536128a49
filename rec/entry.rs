// SPDX-License-Identifier: GPL-2.0

//! What goes into an entry.
//!
//! This is on the way of every entry: it writes one word, and registers only where the last exit
//! wants them. Registers that were written for an earlier entry stay in the page: when the RMM
//! cannot deliver the results of a host call because the realm's memory is missing, it exits with
//! an abort there and takes the results at a later entry.

use super::owed::{Access, Owed};
use crate::rmi::run::{flag, Enter, GPRS};
use crate::rmi::SharedPage;

/// What KVM knows before an entry.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// KVM has advanced the PC, as it does when it has emulated what the vCPU exited with. Where the
    /// RMM has done so itself, this means nothing.
    pub advanced: bool,
    /// KVM wants the vCPU to take a synchronous external abort. Only for an access at an
    /// unprotected IPA the RMM can do that; otherwise the vCPU just goes on.
    pub external_abort: bool,
    /// WFI is to exit.
    pub trap_wfi: bool,
    /// WFE is to exit.
    pub trap_wfe: bool,
    /// The registers of the vCPU, as KVM has left them.
    pub gprs: &'a [u64; GPRS],
}

/// What has to be done before a vCPU can be entered: the RMM would refuse, or the realm would take
/// half of its wish for the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unready {
    /// A PSCI call about another REC: [`super::Vcpu::complete_psci`].
    Psci,
    /// A RIPAS change: [`super::Vcpu::ripas`].
    Ripas,
}

/// Writes the host's half of the run page.
///
/// # Errors
///
/// Something has to be done first. Nothing has been written.
pub(super) fn prepare(
    owed: &Owed,
    input: &Input<'_>,
    page: &mut impl SharedPage,
) -> Result<(), Unready> {
    let mut enter = Enter::of(page);
    let mut flags = 0;
    match owed {
        Owed::Nothing => {}
        // The RMM puts the abort before the emulation as well.
        Owed::Access(_) if input.external_abort => flags |= flag::INJECT_SEA,
        Owed::Access(Access::Emulatable) if input.advanced => {
            flags |= flag::EMULATED_MMIO;
            enter.set_value(x0(input));
        }
        // Something is mapped there now: the realm tries again.
        Owed::Access(_) => {}
        Owed::SysregRead => enter.set_value(x0(input)),
        Owed::HostCall => enter.set_gprs(input.gprs),
        Owed::Ripas(work) if work.is_rejected() => flags |= flag::RIPAS_REJECT,
        Owed::Ripas(work) if work.next().is_none() => {}
        Owed::Unknown => flags |= flag::RIPAS_REJECT,
        Owed::Ripas(_) => return Err(Unready::Ripas),
        Owed::Psci(_) => return Err(Unready::Psci),
    }
    if input.trap_wfi {
        flags |= flag::TRAP_WFI;
    }
    if input.trap_wfe {
        flags |= flag::TRAP_WFE;
    }
    enter.set_flags(flags);
    Ok(())
}

fn x0(input: &Input<'_>) -> u64 {
    let [x0, ..] = input.gprs;
    *x0
}
