// SPDX-License-Identifier: GPL-2.0

//! The machine under the state machine: Realm EL2 with EL3 above it.

use core::ops::Range;

use rmm::features::CpuId;
use rmm::granule::{Delegated, Held, Locked, Undelegated};
use rmm::platform::{GptRefused, GranuleData, Platform, LIST_REGISTERS};
use rmm::rec::{Context, Trap};

use crate::memory::Windows;
use crate::{arch, cpu, el3, gic, random, realm, timer, tlb};

/// Realm EL2.
pub(crate) struct RealmEl2 {
    windows: Windows,
    id: CpuId,
}

impl RealmEl2 {
    /// The machine, with its memory in `windows` and with CPUs like this one.
    pub(crate) fn new(windows: Windows) -> Self {
        Self {
            windows,
            id: cpu::id(),
        }
    }
}

impl Platform for RealmEl2 {
    fn cpu_id(&self) -> CpuId {
        self.id
    }

    fn gpt_delegate(&self, granule: &Locked<'_, Undelegated>) -> Result<(), GptRefused> {
        el3::delegate(granule)
    }

    fn gpt_undelegate(&self, granule: &Locked<'_, Delegated>) -> Result<(), GptRefused> {
        el3::undelegate(granule)
    }

    fn scrub(&self, granule: &Locked<'_, Delegated>) {
        self.windows.scrub(granule);
    }

    fn with<G: Held, R>(&self, granule: &mut G, f: impl FnOnce(&mut GranuleData) -> R) -> R {
        self.windows.with(granule, f)
    }

    fn read(&self, granule: &Locked<'_, Undelegated>, first: usize, words: &mut [u64]) {
        self.windows.read(granule, first, words);
    }

    fn write(&self, granule: &Locked<'_, Undelegated>, first: usize, words: &[u64]) {
        self.windows.write(granule, first, words);
    }

    fn invalidate_stage2(&self, vmid: u16, ipa: Range<u64>) {
        tlb::invalidate(vmid, ipa);
    }

    fn random(&self) -> u64 {
        random::random()
    }

    fn interrupt_pending(&self) -> bool {
        arch::isr() != 0
    }

    fn run(&self, ctx: &mut Context) -> Trap {
        realm::run(ctx)
    }

    fn leave(&self, ctx: &mut Context) {
        realm::leave(ctx);
    }

    fn list_registers(&self) -> [u64; LIST_REGISTERS] {
        gic::list_registers()
    }

    fn gic_vtr(&self) -> u64 {
        gic::vtr()
    }

    fn gic_has_extended_range(&self) -> bool {
        gic::has_extended_range()
    }

    fn counter(&self) -> u64 {
        timer::count()
    }

    fn id_register(&self, crm: u8, op2: u8) -> u64 {
        cpu::id_register(crm, op2)
    }
}
