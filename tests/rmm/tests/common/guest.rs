// SPDX-License-Identifier: GPL-2.0

//! A host that makes a realm, and runs RECs whose every move a test decides.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use kvm_arm_rmi::rmi::{Fid, Regs, Status, GRANULE_SIZE};
use rmm::platform::{GranuleData, GRANULE_WORDS};
use rmm::rec::{Context, Trap};
use rmm::rmi::Dialect;

use super::{pa, Machine};

/// First IPA of the realm's memory, of which the realm has [`PAGES`] granules.
pub(crate) const IPA: u64 = 0;
/// Granules of the realm's memory.
pub(crate) const PAGES: u64 = 4;
/// First IPA that is EMPTY in a table where others are not.
pub(crate) const EMPTY: u64 = 0x10_0000;
/// First IPA that is RAM without memory.
pub(crate) const UNMAPPED: u64 = PAGES * GRANULE_SIZE;
/// First unprotected IPA.
pub(crate) const UNPROTECTED: u64 = 1 << 32;

/// Granule with the descriptor of the realm.
const RD: u64 = 16;
/// Granule with the host's page for REC_ENTER.
const RUN: u64 = 2;
/// Granule of the host's for everything else.
const SCRATCH: u64 = 3;

/// ESR_EL2 of an SMC.
pub(crate) const SMC: u64 = 0x17 << 26 | 1 << 25;

/// What the RMM speaks if a test does not say so: RMI 1.0 in the programs whose names begin with it, which
/// share tests with others.
const DIALECT: Dialect = match module_path!().as_bytes() {
    [b'v', b'1', ..] => Dialect::V1,
    _ => Dialect::Main,
};

/// A host with a realm.
pub(crate) struct Host {
    machine: Machine,
    /// PAs of the realm's memory.
    memory: Vec<u64>,
    /// Granules that have not been used yet start here.
    pub(super) unused: AtomicU64,
    /// Realms that were asked for. In RMI 1.0 each has its number for its VMID.
    realms: AtomicU64,
    /// Counters of the PMU that its realms have.
    pmu_counters: Option<u64>,
}

impl Deref for Host {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

/// One page of words, some of them set.
pub(crate) fn page(words: &[(usize, u64)]) -> GranuleData {
    let mut data = [0; GRANULE_WORDS];
    for (offset, value) in words {
        data[offset / 8] = *value;
    }
    data
}

/// A realm calls with these registers, and checks nothing.
pub(crate) fn smc(args: &[u64]) -> impl FnOnce(&mut Context) -> Trap + Send + 'static {
    let args = args.to_vec();
    move |ctx| {
        ctx.gprs[..args.len()].copy_from_slice(&args);
        trap(SMC)
    }
}

/// A synchronous exception.
pub(crate) fn trap(esr: u64) -> Trap {
    Trap::Sync {
        esr,
        far: 0,
        hpfar: 0,
    }
}

impl Host {
    /// A host with a new realm that has [`PAGES`] granules of memory.
    pub(crate) fn new() -> Self {
        Self::with_hash(0)
    }

    /// The same with another hash algorithm.
    pub(crate) fn with_hash(hash: u64) -> Self {
        Self::of(DIALECT, hash)
    }

    /// The same on an RMM that speaks `dialect`.
    pub(crate) fn of(dialect: Dialect, hash: u64) -> Self {
        Self::on(Machine::speaking(dialect), hash, None)
    }

    /// A host with an active realm that has one REC, and a PMU with `counters` of the CPU's `most`.
    pub(crate) fn with_pmu(most: u8, counters: u64) -> (Self, u64) {
        let machine = Machine::active();
        machine.fake().set_pmu_counters(most);
        let host = Self::on(machine, 0, Some(counters));
        let rec = host.rec(0);
        host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
        (host, rec)
    }

    fn on(machine: Machine, hash: u64, pmu_counters: Option<u64>) -> Self {
        let mut host = Self {
            memory: Vec::new(),
            machine,
            unused: AtomicU64::new(RD + 1),
            realms: AtomicU64::new(0),
            pmu_counters,
        };
        host.delegate(pa(RD), 1);
        host.realm(pa(RD), hash);
        for level in [2, 3] {
            let table = host.delegated(1);
            host.ok(Fid::RTT_CREATE, &[pa(RD), table, IPA, level]);
        }
        host.ok(Fid::RTT_INIT_RIPAS, &[pa(RD), IPA, EMPTY]);
        for n in 0..PAGES {
            let data = host.delegated(1);
            let ipa = IPA + n * GRANULE_SIZE;
            host.ok(Fid::RTT_DATA_MAP_INIT, &[pa(RD), data, ipa, pa(SCRATCH), 0]);
            host.memory.push(data);
        }
        host
    }

    /// Makes a realm without memory.
    fn realm(&self, rd: u64, hash: u64) {
        let root = self.delegated(1);
        let regs = self.realm_begin(rd, root, hash);
        if regs.x(0) == 0x10d {
            assert_eq!(regs.x(2), 9 << 2);
            let donated = self.donate(regs.x(1), &[self.delegated(9) | 9 << 2]);
            assert_eq!(donated, [0xd, 9, 0]);
            self.ok(Fid::OP_CONTINUE, &[regs.x(1), 0]);
        } else {
            assert_eq!(regs.x(0), 0);
        }
    }

    /// REALM_CREATE for a realm with this root table.
    pub(crate) fn realm_begin(&self, rd: u64, root: u64, hash: u64) -> Regs {
        let params = page(&[
            (0x00, u64::from(self.pmu_counters.is_some()) << 2),
            (0x28, self.pmu_counters.unwrap_or(0)),
            (0x08, 33),
            (0x18, 1),
            (0x20, 1),
            (0x30, hash),
            (0x400, 0x5250_5631),
            (0x800, self.realms.fetch_add(1, Ordering::Relaxed)),
            (0x808, root),
            (0x810, 1),
            (0x818, 1),
        ]);
        self.fake().host_write(pa(SCRATCH), &params);
        self.call(Fid::REALM_CREATE, &[rd, pa(SCRATCH)])
    }

    /// Makes another realm with a REC. Returns PAs of both.
    pub(crate) fn other(&self) -> (u64, u64) {
        let (rd, rec) = (self.delegated(1), self.delegated(1));
        self.realm(rd, 0);
        self.rec_params(0, true);
        if self.is_v1() {
            self.name_aux(self.delegated(16), 16);
        }
        let regs = self.call(Fid::REC_CREATE, &[rd, rec, self.scratch()]);
        if self.is_v1() {
            assert_eq!(regs.x(0), 0);
            return (rd, rec);
        }
        assert_eq!(regs.x(0), 0x10d);
        self.donate(regs.x(1), &[self.delegated(16) | 16 << 2]);
        self.ok(Fid::OP_CONTINUE, &[regs.x(1), 0]);
        (rd, rec)
    }

    /// A host with a realm that is active and has one REC. Returns the PA of the REC.
    pub(crate) fn running() -> (Self, u64) {
        let host = Self::new();
        let rec = host.rec(0);
        host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
        (host, rec)
    }

    /// PA of the RD.
    pub(crate) fn rd(&self) -> u64 {
        pa(RD)
    }

    /// PA of granule `n` of the realm's memory.
    pub(crate) fn realm_page(&self, n: u64) -> u64 {
        self.memory[n as usize]
    }

    /// PA of the page for REC_ENTER.
    pub(crate) fn run_page(&self) -> u64 {
        pa(RUN)
    }

    /// PA of a page of the host's for lists and parameters.
    pub(crate) fn scratch(&self) -> u64 {
        pa(SCRATCH)
    }

    /// Makes a call that has to succeed.
    #[track_caller]
    pub(crate) fn ok(&self, fid: Fid, args: &[u64]) {
        let regs = self.call(fid, args);
        assert_eq!(regs.x(0), 0, "{fid} {args:x?}");
    }

    /// x0 of a call.
    pub(crate) fn status(&self, fid: Fid, args: &[u64]) -> u64 {
        self.call(fid, args).x(0)
    }

    /// Delegates granules from `base` on.
    #[track_caller]
    pub(crate) fn delegate(&self, base: u64, granules: u64) {
        let top = base + granules * GRANULE_SIZE;
        if self.is_v1() {
            return self.delegate_each(base, top);
        }
        let regs = self.call(Fid::GRANULE_RANGE_DELEGATE, &[base, top]);
        assert_eq!((regs.x(0), regs.x(1)), (0, top));
    }

    /// PA of `granules` fresh granules of the host's.
    pub(crate) fn fresh(&self, granules: u64) -> u64 {
        pa(self.unused.fetch_add(granules, Ordering::Relaxed))
    }

    /// PA of `granules` fresh delegated granules.
    pub(crate) fn delegated(&self, granules: u64) -> u64 {
        let base = self.fresh(granules);
        self.delegate(base, granules);
        base
    }

    /// Writes the parameters of a REC into the scratch page.
    pub(crate) fn rec_params(&self, mpidr: u64, runnable: bool) {
        let params = page(&[
            (0, u64::from(runnable)),
            (0x100, mpidr),
            (0x200, 0x1000),
            (0x300, 0xa0),
            (0x338, 0xa7),
        ]);
        self.fake().host_write(pa(SCRATCH), &params);
    }

    /// Begins to make a REC. Returns its PA and the handle.
    #[track_caller]
    pub(crate) fn rec_begin(&self) -> (u64, u64) {
        let rec = self.delegated(1);
        let regs = self.call(Fid::REC_CREATE, &[self.rd(), rec, self.scratch()]);
        assert_eq!((regs.x(0), regs.x(2)), (0x10d, 0x40));
        (rec, regs.x(1))
    }

    /// Donates as a list of descriptors. The parameters of the REC stay.
    pub(crate) fn donate(&self, handle: u64, ranges: &[u64]) -> [u64; 3] {
        let mut list = self.fake().data(pa(SCRATCH));
        list[256..][..ranges.len()].copy_from_slice(ranges);
        self.fake().host_write(pa(SCRATCH), &list);
        let list = pa(SCRATCH) + 256 * 8;
        let regs = self.call(Fid::OP_MEM_DONATE, &[handle, list, ranges.len() as u64]);
        [regs.x(0), regs.x(1), regs.x(2)]
    }

    /// Makes REC `index` of the realm, which is on if it is the first. Returns its PA.
    #[track_caller]
    pub(crate) fn rec(&self, index: u64) -> u64 {
        self.rec_params(index, index == 0);
        if self.is_v1() {
            return self.rec_at_once();
        }
        let (rec, handle) = self.rec_begin();
        let donated = self.donate(handle, &[self.delegated(16) | 16 << 2]);
        assert_eq!(donated, [0xd, 16, 0]);
        self.ok(Fid::OP_CONTINUE, &[handle, 0]);
        rec
    }

    /// Enters a REC with `flags` and `gprs`. Returns x0.
    pub(crate) fn enter_with(&self, rec: u64, flags: u64, gprs: &[u64]) -> u64 {
        let mut data = page(&[(0, flags)]);
        data[64..][..gprs.len()].copy_from_slice(gprs);
        self.fake().host_write(self.run_page(), &data);
        self.status(Fid::REC_ENTER, &[rec, self.run_page()])
    }

    /// Enters a REC, which has to work. Returns the reason of the exit.
    #[track_caller]
    pub(crate) fn enter(&self, rec: u64) -> u64 {
        assert_eq!(self.enter_with(rec, 0, &[]), 0);
        self.exit(0)
    }

    /// A word of the last exit.
    pub(crate) fn exit(&self, offset: usize) -> u64 {
        self.fake().data(self.run_page())[(0x800 + offset) / 8]
    }

    /// Register `n` of the last exit.
    pub(crate) fn exit_gpr(&self, n: usize) -> u64 {
        self.exit(0x200 + n * 8)
    }

    /// Has the realm call with `args`, which the RMM has to answer by itself. Returns its registers
    /// after the call.
    #[track_caller]
    pub(crate) fn answer(&self, rec: u64, args: &[u64]) -> [u64; 31] {
        let (tell, told) = std::sync::mpsc::channel();
        self.fake().cpu.then(smc(args));
        self.fake().cpu.then(move |ctx| {
            tell.send(ctx.gprs).unwrap();
            Trap::Irq
        });
        assert_eq!(self.enter(rec), 1);
        told.recv().unwrap()
    }

    /// x0 of such a call.
    #[track_caller]
    pub(crate) fn answer_code(&self, rec: u64, args: &[u64]) -> u64 {
        self.answer(rec, args)[0]
    }

    /// Looks at the registers of a REC when it runs again.
    #[track_caller]
    pub(crate) fn registers(&self, rec: u64) -> Context {
        let (tell, told) = std::sync::mpsc::channel();
        self.fake().cpu.then(move |ctx| {
            tell.send(ctx.clone()).unwrap();
            Trap::Irq
        });
        assert_eq!(self.enter(rec), 1);
        told.recv().unwrap()
    }

    /// Status code that `status` has in x0.
    pub(crate) fn code(status: Status) -> u64 {
        u64::from(status.raw())
    }

    /// Begins to make a REC at `rec`, and leaves it at that.
    #[track_caller]
    pub(crate) fn ok_incomplete(&self, rec: u64) {
        let code = self.status(Fid::REC_CREATE, &[self.rd(), rec, self.scratch()]);
        assert_eq!(code, 0x10d);
    }
}
