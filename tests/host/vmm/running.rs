// SPDX-License-Identifier: GPL-2.0

//! The first vCPU runs.

use super::{Result, Vmm, Why, PAGE};
use kvm_arm_rmi::exit::{Exit, Psci};
use kvm_arm_rmi::mmu::{self, Step};
use kvm_arm_rmi::realm::MissingTable;
use kvm_arm_rmi::rec::entry::Input;
use kvm_arm_rmi::rec::{Progress, RipasHost, Slot};
use kvm_arm_rmi::rmi::cmd::rec::Verdict;
use kvm_arm_rmi::rmi::{
    Conduit,
    Error,
    Fid,
    IpaRange,
    Protected,
    Regs,
    ReturnCode,
    SharedPage, //
};
use rmm::rec::Trap;
use std::ops::Range;

impl Vmm<'_> {
    /// The first vCPU runs and calls the RMM so. Returns why it has stopped.
    pub(crate) fn run(&mut self, call: [u64; 5]) -> Result<Exit> {
        self.host.machine.fake().cpu.forget();
        self.host.machine.fake().cpu.then(move |ctx| {
            ctx.gprs[..5].copy_from_slice(&call);
            Trap::Sync {
                esr: crate::entry_seam::SMC,
                far: 0,
                hpfar: 0,
            }
        });
        let (Some(rec), vcpu, page) = self.recs.first_mut().ok_or(Why::Exit)? else {
            return Err(Why::Exit);
        };
        let input = Input {
            advanced: false,
            external_abort: false,
            trap_wfi: false,
            trap_wfe: false,
            gprs: &[0; 31],
        };
        vcpu.prepare(&input, page).map_err(|_| Why::Exit)?;
        let args = [rec.name().raw(), page.pa().raw()];
        let call = Regs::new(Fid::REC_ENTER.raw().into(), &args);
        let x0 = ReturnCode::new(self.host.rmi.conduit().smc(&call).x(0));
        self.host.rmi.entered(x0);
        vcpu.exited(x0, page, self.space).map_err(|_| Why::Exit)
    }

    /// The first vCPU wants a RIPAS changed, and it is.
    pub(crate) fn change_ripas(&mut self, gfns: Range<u64>, value: u64) -> Result {
        let call = [0xc400_0197, gfns.start * PAGE, gfns.end * PAGE, value, 1];
        let Exit::Ripas(_) = self.run(call)? else {
            return Err(Why::Exit);
        };
        let mut work = *self.recs[0].1.ripas().ok_or(Why::Exit)?;
        let done = work.carry_out(&Change(self));
        *self.recs[0].1.ripas().ok_or(Why::Exit)? = work;
        match done? {
            Progress::Complete => Ok(()),
            Progress::Convert(_) => Err(Why::Exit),
        }
    }

    /// The first vCPU turns the second on.
    pub(crate) fn turn_on(&mut self) -> Result {
        let Exit::Psci(Psci::Ask(_)) = self.run([0xc400_0003, 1, 0, 0, 0])? else {
            return Err(Why::Exit);
        };
        let names = self.recs.iter().map(|(rec, ..)| Some(rec.as_ref()?.name()));
        let [Some(me), target] = names.collect::<Vec<_>>()[..] else {
            return Err(Why::Exit);
        };
        let (rmi, vcpu) = (&self.host.rmi, &mut self.recs[0].1);
        let _ = vcpu.complete_psci(rmi, me, target, Verdict::Success)?;
        Ok(())
    }
}

/// Memory all of which is in a slot, and is as the realm wants it.
struct Change<'a, 'h>(&'a Vmm<'h>);

impl RipasHost for Change<'_, '_> {
    type Error = Why;

    fn first_slot(&self, _: &Range<u64>) -> Option<Slot> {
        Some(Slot {
            ipas: 0..self.0.space.unprotected_bit(),
            private: true,
        })
    }

    fn matching(&self, ipas: &Range<u64>, _: bool) -> u64 {
        ipas.end
    }

    fn go_on(&self) -> Result {
        Ok(())
    }

    fn set_ripas(&self, range: IpaRange<Protected>) -> Result<Step> {
        let Self(vmm) = self;
        let me = vmm.recs[0].0.as_ref().ok_or(Why::Exit)?.name();
        let (rmi, name) = (&vmm.host.rmi, vmm.name()?);
        Ok(mmu::set_ripas(rmi, name, me, &vmm.tables(), range))
    }

    fn make_table(&self, table: MissingTable) -> Result {
        self.0.make_table(table)
    }

    fn emptied(&self, _: Range<u64>) {}

    fn refused(&self, error: Error) -> Why {
        error.into()
    }
}
