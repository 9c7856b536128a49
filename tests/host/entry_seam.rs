// SPDX-License-Identifier: GPL-2.0

//! vCPUs of a realm on the embedded RMM, driven as the seam to the kernel drives them: the product
//! writes entries and decodes exits, and a test plays the realm and KVM.

use crate::life::Guest;
use crate::machine::{Host, Page};
use kvm_arm_rmi::exit::{Exit, Psci, Refused};
use kvm_arm_rmi::rec::entry::{Input, Unready};
use kvm_arm_rmi::rec::{Vcpu, Wake};
use kvm_arm_rmi::rmi::cmd::rec::Verdict;
use kvm_arm_rmi::rmi::{Fid, ReturnCode, SharedPage};
use rmm::rec::{Context, Trap};
use std::sync::mpsc;

/// ESR_EL2 of an SMC.
pub(crate) const SMC: u64 = 0x17 << 26 | 1 << 25;

/// A vCPU, as KVM has it.
pub(crate) struct Cpu {
    pub(crate) vcpu: Vcpu,
    pub(crate) page: Page,
    pub(crate) gprs: [u64; 31],
    pub(crate) advanced: bool,
    pub(crate) external_abort: bool,
    pub(crate) trap_wfi: bool,
    pub(crate) trap_wfe: bool,
}

/// A realm that runs.
pub(crate) struct Seam<'h> {
    pub(crate) guest: Guest<'h>,
    pub(crate) cpus: Vec<Cpu>,
    /// Entries that the RMM has refused.
    pub(crate) refused: u64,
}

impl<'h> Seam<'h> {
    /// A realm with 16 MiB of RAM, a page of which is there, and `cpus` vCPUs, the first on.
    pub(crate) fn new(host: &'h Host, cpus: usize) -> Self {
        let mpidrs: Vec<u64> = (0..cpus as u64).collect();
        Self::of(host, &mpidrs)
    }

    /// The same, with vCPUs that have these MPIDRs.
    pub(crate) fn of(host: &'h Host, mpidrs: &[u64]) -> Self {
        let mut guest = Guest::new(host);
        guest.populate(0x1000);
        guest.init_ripas(0, 0x100_0000);
        for mpidr in mpidrs {
            guest.try_rec(*mpidr).unwrap();
        }
        guest.realm.activate(&host.rmi).unwrap();
        let cpus = mpidrs.iter().map(|_| Cpu {
            vcpu: Vcpu::new(),
            page: host.page(),
            // Whatever is not put there on purpose must not reach the realm.
            gprs: [0xdead_dead_dead_dead; 31],
            advanced: false,
            external_abort: false,
            trap_wfi: false,
            trap_wfe: false,
        });
        Self {
            guest,
            cpus: cpus.collect(),
            refused: 0,
        }
    }

    /// The next thing that a realm does.
    pub(crate) fn then(&self, step: impl FnOnce(&mut Context) -> Trap + Send + 'static) {
        self.guest.host.machine.fake().cpu.then(step);
    }

    /// The realm calls the RMM.
    pub(crate) fn smc(&self, args: &[u64]) {
        let args = args.to_vec();
        self.then(move |ctx| {
            ctx.gprs[..args.len()].copy_from_slice(&args);
            Trap::Sync {
                esr: SMC,
                far: 0,
                hpfar: 0,
            }
        });
    }

    /// Enters vCPU `n`, if it can be.
    pub(crate) fn try_enter(&mut self, n: usize) -> Result<Result<Exit, Refused>, Unready> {
        let cpu = &mut self.cpus[n];
        let input = Input {
            advanced: cpu.advanced,
            external_abort: cpu.external_abort,
            trap_wfi: cpu.trap_wfi,
            trap_wfe: cpu.trap_wfe,
            gprs: &cpu.gprs,
        };
        cpu.vcpu.prepare(&input, &mut cpu.page)?;
        let args = [self.guest.recs[n].name().raw(), cpu.page.pa().raw()];
        let regs = self.guest.host.machine.call(Fid::REC_ENTER, &args);
        let x0 = ReturnCode::new(regs.x(0));
        let exit = cpu.vcpu.exited(x0, &cpu.page, self.guest.space);
        match &exit {
            Ok(exit) => {
                exit.take_gprs(&cpu.page, &mut cpu.gprs);
                cpu.advanced = false;
                cpu.external_abort = false;
            }
            Err(_) => self.refused += 1,
        }
        Ok(exit)
    }

    /// Enters vCPU `n`, which has to work.
    #[track_caller]
    pub(crate) fn enter(&mut self, n: usize) -> Exit {
        self.try_enter(n).unwrap().unwrap()
    }

    /// Enters vCPU `n`, which the RMM refuses because a list register has a physical interrupt. What
    /// is owed stays.
    #[track_caller]
    pub(crate) fn refuse(&mut self, n: usize) {
        let host = self.guest.host;
        let owed = *self.cpus[n].vcpu.owed();
        host.machine.fake().cpu.set_list_register(0, 3 << 61 | 30);
        assert_eq!(self.try_enter(n), Ok(Err(Refused::NotReady)));
        host.machine.fake().cpu.set_list_register(0, 0);
        assert_eq!(*self.cpus[n].vcpu.owed(), owed);
    }

    /// Enters vCPU `n` until an interrupt, and returns the registers that the realm saw.
    #[track_caller]
    pub(crate) fn look(&mut self, n: usize) -> Context {
        let (tell, told) = mpsc::channel();
        self.then(move |ctx| {
            tell.send(ctx.clone()).unwrap();
            Trap::Irq
        });
        assert_eq!(self.enter(n), Exit::Irq);
        told.recv().expect("the realm has run")
    }

    /// vCPU 0 turns vCPU `n` on, to start at `pc`.
    #[track_caller]
    pub(crate) fn turn_on(&mut self, n: usize, pc: u64) {
        self.smc(&[0xc400_0003, n as u64, pc, 0]);
        assert!(matches!(self.enter(0), Exit::Psci(Psci::Ask(_))));
        let (recs, rmi) = (&self.guest.recs, &self.guest.host.rmi);
        let vcpu = &mut self.cpus[0].vcpu;
        let wake = vcpu.complete_psci(rmi, recs[0].name(), Some(recs[n].name()), Verdict::Success);
        assert_eq!(wake, Ok(Wake::Target));
    }

    /// Takes everything down. No command has failed, and as many entries as the test provoked.
    #[track_caller]
    pub(crate) fn end(self, refused: u64) {
        let host = self.guest.host;
        assert_eq!(self.refused, refused);
        assert_eq!(host.machine.fake().cpu.unplayed(), 0);
        for cpu in self.cpus {
            host.put(cpu.page);
        }
        self.guest.tear_down();
        host.assert_idle();
        assert_eq!(host.failed(), []);
    }
}
