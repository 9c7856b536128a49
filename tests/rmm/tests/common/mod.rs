// SPDX-License-Identifier: GPL-2.0

//! A machine in memory for the RMM to run on, with a granule protection table of its own: it
//! notices whatever would be a granule protection fault on the real one.

// Each test program uses a part of this.
#![allow(dead_code, reason = "shared by several test programs")]

pub(crate) mod cpu;
pub(crate) mod end;
pub(crate) mod ghost;
pub(crate) mod guest;
pub(crate) mod realm;
pub(crate) mod steps;
pub(crate) mod v1;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use kvm_arm_rmi::rmi::{AddrRange, Fid, PhysAddr, Regs, Status, GRANULE_SIZE};
use rmm::features::CpuId;
use rmm::granule::{Delegated, Entry, Held, Locked, Undelegated};
use rmm::platform::{GptRefused, GranuleData, Platform, GRANULE_WORDS, LIST_REGISTERS};
use rmm::ram::MAX_BANKS;
use rmm::rec::{Context, Trap};
use rmm::rmi::{Dialect, MAX_GRANULES_PER_CALL};
use rmm::{GranuleTable, RamMap, Rmm};

/// First byte of the memory.
pub(crate) const RAM: u64 = 0x4000_0000;
/// Granules of the memory: six calls' worth.
pub(crate) const RAM_GRANULES: u64 = 6 * MAX_GRANULES_PER_CALL;
/// First byte after the memory.
pub(crate) const RAM_TOP: u64 = pa(RAM_GRANULES);
/// The RMM's own memory: granules 8 to 15.
pub(crate) const OWN: std::ops::Range<u64> = pa(8)..pa(16);
/// A second bank, of 4 granules.
pub(crate) const BANK2: u64 = 0x8000_0000;
/// A device.
pub(crate) const UART: u64 = 0x0900_0000;

/// ID_AA64MMFR0_EL1 of a CPU with 52-bit addresses and FEAT_LPA2 at both stages.
pub(crate) const MMFR0_LPA2: u64 = 3 << 40 | 1 << 28 | 6;
/// That of a CPU with 48-bit addresses.
pub(crate) const MMFR0_48_BITS: u64 = 5;

/// Address of granule `n` of the memory.
pub(crate) const fn pa(n: u64) -> u64 {
    RAM + n * GRANULE_SIZE
}

/// A physical address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pas {
    /// The host's.
    NonSecure,
    /// The RMM's and its realms'.
    Realm,
    /// That of the secure world.
    Secure,
}

/// What has been done to the machine, and how it behaves.
#[derive(Default)]
pub(crate) struct Fake {
    /// What the realms do.
    pub(crate) cpu: cpu::Cpu,
    /// Granules that are not [`Pas::NonSecure`].
    gpt: Mutex<BTreeMap<u64, Pas>>,
    /// Granules that are not all zeroes.
    memory: Mutex<BTreeMap<u64, GranuleData>>,
    /// Granules that EL3 keeps.
    kept: Mutex<BTreeSet<u64>>,
    /// Granules whose memory is bad.
    bad: Mutex<BTreeSet<u64>>,
    /// Those of them that the RMM has looked at since.
    looked_at: Mutex<Vec<u64>>,
    /// Steps of a range until an interrupt is pending; 0 for never.
    interrupt_after: AtomicU64,
    steps: AtomicU64,
    /// What the TLBs were told to forget: VMID and IPAs.
    invalidated: Mutex<Vec<(u16, Range<u64>)>>,
    /// The next random number.
    random: AtomicU64,
    /// ID_AA64MMFR0_EL1.
    mmfr0: AtomicU64,
    /// ID_AA64DFR0_EL1, beside the debug registers.
    dfr0: AtomicU64,
    /// Counters of the PMU.
    pmu_counters: Mutex<Option<u8>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|broken| broken.into_inner())
}

impl Fake {
    /// The address space that the granule at `pa` is in.
    pub(crate) fn pas(&self, pa: u64) -> Pas {
        let gpt = lock(&self.gpt);
        gpt.get(&pa).copied().unwrap_or(Pas::NonSecure)
    }

    /// Moves the granule at `pa` behind the RMM's back.
    pub(crate) fn set_pas(&self, pa: u64, pas: Pas) {
        lock(&self.gpt).insert(pa, pas);
    }

    /// Number of granules in the Realm address space, apart from the RMM's own.
    pub(crate) fn realm_granules(&self) -> usize {
        let gpt = lock(&self.gpt);
        gpt.iter()
            .filter(|(pa, pas)| **pas == Pas::Realm && !OWN.contains(*pa))
            .count()
    }

    /// The granules in the Realm address space, apart from the RMM's own.
    pub(crate) fn in_realm_space(&self) -> Vec<u64> {
        let gpt = lock(&self.gpt);
        let realm = gpt.iter().filter(|(_, pas)| **pas == Pas::Realm);
        let own = |pa: &u64| OWN.contains(pa);
        realm.map(|(pa, _)| *pa).filter(|pa| !own(pa)).collect()
    }

    /// What the TLBs were told to forget since the last call: VMID and IPAs.
    pub(crate) fn invalidated(&self) -> Vec<(u16, Range<u64>)> {
        std::mem::take(&mut lock(&self.invalidated))
    }

    /// The contents of the granule at `pa`.
    pub(crate) fn data(&self, pa: u64) -> GranuleData {
        let memory = lock(&self.memory);
        memory.get(&pa).copied().unwrap_or([0; GRANULE_WORDS])
    }

    /// The word at `pa`.
    pub(crate) fn word(&self, pa: u64) -> u64 {
        let memory = lock(&self.memory);
        let granule = memory.get(&(pa - pa % GRANULE_SIZE));
        granule.map_or(0, |data| data[(pa % GRANULE_SIZE / 8) as usize])
    }

    /// Writes the word at `pa` as the host.
    pub(crate) fn host_write_word(&self, pa: u64, value: u64) {
        let granule = pa - pa % GRANULE_SIZE;
        assert_eq!(
            self.pas(granule),
            Pas::NonSecure,
            "the host faults at {pa:#x}"
        );
        let mut memory = lock(&self.memory);
        let data = memory.entry(granule).or_insert([0; GRANULE_WORDS]);
        data[(pa % GRANULE_SIZE / 8) as usize] = value;
    }

    /// Writes the granule at `pa` as the host.
    pub(crate) fn host_write(&self, pa: u64, data: &GranuleData) {
        assert_eq!(self.pas(pa), Pas::NonSecure, "the host faults at {pa:#x}");
        lock(&self.memory).insert(pa, *data);
    }

    /// Writes the granule at `pa` as a realm.
    pub(crate) fn realm_write(&self, pa: u64, data: &GranuleData) {
        assert_eq!(self.pas(pa), Pas::Realm, "the realm faults at {pa:#x}");
        lock(&self.memory).insert(pa, *data);
    }

    /// Makes EL3 keep the granule at `pa` where it is.
    pub(crate) fn keep(&self, pa: u64) {
        lock(&self.kept).insert(pa);
    }

    /// The memory of the granule at `pa` is bad from now on. Nothing happens to an RMM that looks there, but see
    /// [`Self::looked_at`].
    pub(crate) fn poison(&self, pa: u64) {
        lock(&self.bad).insert(pa);
    }

    /// What is bad and the RMM has looked at.
    pub(crate) fn looked_at(&self) -> Vec<u64> {
        lock(&self.looked_at).clone()
    }

    /// Changes the CPU's ID_AA64MMFR0_EL1.
    pub(crate) fn set_mmfr0(&self, mmfr0: u64) {
        self.mmfr0.store(mmfr0, Ordering::Relaxed);
    }

    /// Adds to the CPU's ID_AA64DFR0_EL1.
    pub(crate) fn set_dfr0(&self, bits: u64) {
        self.dfr0.store(bits, Ordering::Relaxed);
    }

    /// Gives the CPU a PMU.
    pub(crate) fn set_pmu_counters(&self, counters: u8) {
        *lock(&self.pmu_counters) = Some(counters);
    }

    /// Makes an interrupt pending after `steps` granules of each range; 0 for never.
    pub(crate) fn interrupt_after(&self, steps: u64) {
        self.interrupt_after.store(steps, Ordering::Relaxed);
    }

    fn change(&self, pa: PhysAddr, from: Pas, to: Pas) -> Result<(), GptRefused> {
        let mut gpt = lock(&self.gpt);
        let now = gpt.get(&pa.raw()).copied().unwrap_or(Pas::NonSecure);
        if now != from || lock(&self.kept).contains(&pa.raw()) {
            return Err(GptRefused);
        }
        gpt.insert(pa.raw(), to);
        Ok(())
    }
}

impl Platform for Fake {
    fn run(&self, ctx: &mut Context) -> Trap {
        self.cpu.run(ctx)
    }

    fn leave(&self, _: &mut Context) {
        self.cpu.leave();
    }

    fn list_registers(&self) -> [u64; LIST_REGISTERS] {
        self.cpu.list_registers()
    }

    fn gic_vtr(&self) -> u64 {
        0x9008_0003
    }

    fn gic_has_extended_range(&self) -> bool {
        self.cpu.has_extended_range()
    }

    fn counter(&self) -> u64 {
        self.cpu.counter()
    }

    fn id_register(&self, crm: u8, op2: u8) -> u64 {
        self.cpu.id_register(crm, op2)
    }

    fn cpu_id(&self) -> CpuId {
        CpuId {
            dfr0: 0x0000_0000_0030_5000 | self.dfr0.load(Ordering::Relaxed),
            dfr1: 0,
            mmfr0: self.mmfr0.load(Ordering::Relaxed),
            sve_vl: None,
            pmu_counters: *lock(&self.pmu_counters),
        }
    }

    fn gpt_delegate(&self, granule: &Locked<'_, Undelegated>) -> Result<(), GptRefused> {
        self.change(granule.pa(), Pas::NonSecure, Pas::Realm)
    }

    fn gpt_undelegate(&self, granule: &Locked<'_, Delegated>) -> Result<(), GptRefused> {
        self.change(granule.pa(), Pas::Realm, Pas::NonSecure)
    }

    fn scrub(&self, granule: &Locked<'_, Delegated>) {
        let pa = granule.pa().raw();
        assert_eq!(self.pas(pa), Pas::Realm, "the RMM faults at {pa:#x}");
        lock(&self.memory).remove(&pa);
    }

    fn with<G: Held, R>(&self, granule: &mut G, f: impl FnOnce(&mut GranuleData) -> R) -> R {
        let pa = granule.pa().raw();
        assert_eq!(self.pas(pa), Pas::Realm, "the RMM faults at {pa:#x}");
        if lock(&self.bad).contains(&pa) {
            lock(&self.looked_at).push(pa);
        }
        // Out of the memory while `f` uses it, since `f` may use other granules.
        let mut data = lock(&self.memory).remove(&pa).unwrap_or([0; GRANULE_WORDS]);
        let result = f(&mut data);
        lock(&self.memory).insert(pa, data);
        result
    }

    fn read(&self, granule: &Locked<'_, Undelegated>, first: usize, words: &mut [u64]) {
        let pa = granule.pa().raw();
        assert_eq!(self.pas(pa), Pas::NonSecure, "the RMM faults at {pa:#x}");
        words.copy_from_slice(&self.data(pa)[first..][..words.len()]);
    }

    fn write(&self, granule: &Locked<'_, Undelegated>, first: usize, words: &[u64]) {
        let pa = granule.pa().raw();
        assert_eq!(self.pas(pa), Pas::NonSecure, "the RMM faults at {pa:#x}");
        let mut data = self.data(pa);
        data[first..][..words.len()].copy_from_slice(words);
        lock(&self.memory).insert(pa, data);
    }

    fn invalidate_stage2(&self, vmid: u16, ipa: Range<u64>) {
        lock(&self.invalidated).push((vmid, ipa));
    }

    fn random(&self) -> u64 {
        self.random
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    fn interrupt_pending(&self) -> bool {
        let after = self.interrupt_after.load(Ordering::Relaxed);
        after != 0 && (self.steps.fetch_add(1, Ordering::Relaxed) + 1) % after == 0
    }
}

/// An RMM on a [`Fake`] machine.
pub(crate) struct Machine {
    pub(crate) rmm: Rmm<'static, Fake>,
}

impl Machine {
    /// A machine whose RMM has just booted.
    pub(crate) fn new() -> Self {
        let range = |base, top| AddrRange::new(PhysAddr::new(base), PhysAddr::new(top));
        let mut banks = [None; MAX_BANKS];
        banks[0] = range(RAM, RAM_TOP);
        banks[1] = range(BANK2, BANK2 + 4 * GRANULE_SIZE);
        let ram = RamMap::new(banks).unwrap();

        // A table is there for good, on a machine as well.
        let count = usize::try_from(ram.granules()).unwrap();
        let entries: Vec<Entry> = (0..count).map(|_| Entry::new(0xa5a5)).collect();
        let own = range(OWN.start, OWN.end).unwrap();
        let table = GranuleTable::new(ram, entries.leak(), own).unwrap();

        let fake = Fake::default();
        fake.set_mmfr0(MMFR0_LPA2);
        for pa in OWN.step_by(GRANULE_SIZE as usize) {
            fake.set_pas(pa, Pas::Realm);
        }
        Self {
            rmm: Rmm::new(fake, table),
        }
    }

    /// A machine whose RMM is active.
    pub(crate) fn active() -> Self {
        Self::speaking(Dialect::Main)
    }

    /// A machine whose RMM speaks `dialect`, and is active.
    pub(crate) fn speaking(dialect: Dialect) -> Self {
        let machine = Self::new();
        machine.rmm.speak(dialect);
        if dialect != Dialect::V1 {
            machine.expect(Fid::RMM_ACTIVATE, [], Status::Success, []);
        }
        machine
    }

    /// The machine under the RMM.
    pub(crate) fn fake(&self) -> &Fake {
        self.rmm.platform()
    }

    /// Makes a call and returns the registers after it.
    pub(crate) fn call(&self, fid: Fid, args: &[u64]) -> Regs {
        let mut regs = Regs::new(u64::from(fid.raw()), args);
        self.rmm.handle(&mut regs);
        regs
    }

    /// Makes a call and checks x0 and the results; x1 to x3 are 0 where there is none.
    #[track_caller]
    pub(crate) fn expect<const N: usize, const M: usize>(
        &self,
        fid: Fid,
        args: [u64; N],
        status: Status,
        results: [u64; M],
    ) {
        let regs = self.call(fid, &args);
        let mut wanted = [u64::from(status.raw()), 0, 0, 0];
        wanted[1..][..M].copy_from_slice(&results);
        assert_eq!(regs.0[..4], wanted, "{fid} {args:x?}");
    }

    /// Checks that the table and the GPT agree about the granule at `pa`, and that nobody holds it.
    /// Returns true if it is delegated.
    #[track_caller]
    pub(crate) fn is_delegated(&self, pa: u64) -> bool {
        let granules = self.rmm.granules();
        let at = PhysAddr::new(pa);
        let undelegated = granules.lock::<Undelegated>(at).is_some();
        let delegated = granules.lock::<Delegated>(at).is_some();
        assert_eq!(delegated, self.fake().pas(pa) == Pas::Realm, "{pa:#x}");
        assert_ne!(undelegated, delegated, "{pa:#x}");
        delegated
    }
}
