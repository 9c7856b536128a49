// SPDX-License-Identifier: GPL-2.0

//! Random sequences of commands on realms and their tables: no granule is lost, in two places, in
//! the wrong world, or in a TLB after it has gone.

mod common;

use common::ghost::{check, Realm, Tlb, SECRET};
use common::realm::{desc, list, ns_desc, param, params, PAGE, SHARED, SINGLE, WRITE_BACK};
use common::steps::{every, step, Ipa, Memory, Numbers, Step, GRANULES};
use common::{Machine, Pas};
use kvm_arm_rmi::rmi::{Fid, PhysAddr, Status, GRANULE_SIZE};
use proptest::prelude::*;
use rmm::granule::{Rd as RdGranule, State};
use rmm::platform::GRANULE_WORDS;
use rmm::rd::Rd;
use rmm::rtt::block_size;
use rmm::Platform;

/// The host, and what it believes to be so.
struct Host {
    machine: Machine,
    realms: Vec<Realm>,
    tlb: Tlb,
    /// Operations that wait for it.
    handles: Vec<u64>,
}

impl Host {
    /// A host with a realm that has a few tables, so that most of what follows makes sense.
    fn new() -> Self {
        let mut host = Self {
            machine: Machine::active(),
            realms: Vec::new(),
            tlb: Tlb::default(),
            handles: Vec::new(),
        };
        for step in [
            Step::Delegate(Memory(0), 7),
            Step::Create(Memory(0), Memory(1)),
            Step::CreateTable(0, Memory(2), Ipa(0), 2),
            Step::CreateTable(0, Memory(3), Ipa(0), 3),
            Step::InitRipas(0, Ipa(0), 3),
            Step::CreateTable(0, Memory(4), Ipa(SHARED), 2),
            Step::Delegate(Memory(GRANULES), 1024),
        ] {
            host.run(step);
        }
        assert_eq!(host.realms.len(), 1);
        host
    }

    /// The RD of realm `n`, or something that is none.
    fn rd(&self, n: usize) -> u64 {
        self.realms.get(n).map_or(PAGE, |realm| realm.rd)
    }

    /// Makes a call. Returns true if it has succeeded.
    fn call(&mut self, fid: Fid, args: &[u64]) -> bool {
        let regs = self.machine.call(fid, args);
        if regs.x(0) == u64::from(Status::Incomplete.raw()) && fid != Fid::OP_CONTINUE {
            self.handles.push(regs.x(1));
        }
        regs.x(0) == 0
    }

    fn create(&mut self, rd: u64, root: u64) {
        let mut page = params();
        page[param::RTT_BASE] = root;
        self.machine.fake().host_write(PAGE, &page);
        if self.call(Fid::REALM_CREATE, &[rd, PAGE]) {
            let rmm = &self.machine.rmm;
            let mut granule = rmm.granules().lock::<RdGranule>(PhysAddr::new(rd)).unwrap();
            let vmid = rmm
                .platform()
                .with(&mut granule, |data| Rd::view(data).stage2().vmid);
            drop(granule);
            self.tlb.add(rd, vmid);
            self.realms.push(Realm { rd, root });
        }
    }

    fn run(&mut self, step: Step) {
        let end = |Ipa(ipa), count, level| ipa + count * block_size(level);
        let report = |kind| if kind == 2 { list(4) } else { kind };
        let place = |kind| if kind == 2 { PAGE + 8 } else { 0 };
        match step {
            Step::Delegate(m, n) => {
                let top = m.pa() + n * GRANULE_SIZE;
                self.call(Fid::GRANULE_RANGE_DELEGATE, &[m.pa(), top]);
            }
            Step::Undelegate(m, n) => {
                let top = m.pa() + n * GRANULE_SIZE;
                if self.call(Fid::GRANULE_RANGE_UNDELEGATE, &[m.pa(), top]) {
                    assert_eq!(self.machine.fake().data(m.pa()), [0; GRANULE_WORDS]);
                }
            }
            Step::Create(rd, root) => self.create(rd.pa(), root.pa()),
            Step::Activate(r) => {
                self.call(Fid::REALM_ACTIVATE, &[self.rd(r)]);
            }
            Step::Terminate(r) => {
                self.call(Fid::REALM_TERMINATE, &[self.rd(r)]);
            }
            Step::Destroy(r) => {
                let rd = self.rd(r);
                if self.call(Fid::REALM_DESTROY, &[rd]) {
                    self.realms.retain(|realm| realm.rd != rd);
                }
            }
            Step::CreateTable(r, m, Ipa(ipa), level) => {
                let ipa = ipa & !(block_size(level - 1) - 1);
                self.call(Fid::RTT_CREATE, &[self.rd(r), m.pa(), ipa, level as u64]);
            }
            Step::DestroyTable(r, Ipa(ipa), level) => {
                let ipa = ipa & !(block_size(level - 1) - 1);
                self.call(Fid::RTT_DESTROY, &[self.rd(r), ipa, level as u64]);
            }
            Step::Fold(r, Ipa(ipa), level) => {
                let ipa = ipa & !(block_size(level - 1) - 1);
                self.call(Fid::RTT_FOLD, &[self.rd(r), ipa, level as u64]);
            }
            Step::InitRipas(r, ipa, n) => {
                self.call(Fid::RTT_INIT_RIPAS, &[self.rd(r), ipa.0, end(ipa, n, 3)]);
            }
            Step::Map(r, ipa, m, n, level) => {
                let args = [
                    self.rd(r),
                    ipa.0,
                    end(ipa, n, level),
                    SINGLE,
                    desc(m.pa(), n, level),
                ];
                self.call(Fid::RTT_DATA_MAP, &args);
            }
            Step::MapInit(r, Ipa(ipa), m) => {
                self.call(Fid::RTT_DATA_MAP_INIT, &[self.rd(r), m.pa(), ipa, PAGE, 1]);
            }
            Step::Unmap(r, ipa, n, kind) => {
                let top = end(ipa, n, 3);
                let args = [self.rd(r), ipa.0, top, report(kind), place(kind)];
                self.call(Fid::RTT_DATA_UNMAP, &args);
            }
            Step::Share(r, ipa, m, n, level) => {
                let args = [
                    self.rd(r),
                    ipa.0,
                    end(ipa, n, level),
                    SINGLE | WRITE_BACK,
                    ns_desc(m.pa(), n, level),
                ];
                self.call(Fid::RTT_UNPROT_MAP, &args);
            }
            Step::Unshare(r, ipa, n, kind) => {
                let top = end(ipa, n, 3);
                let args = [self.rd(r), ipa.0, top, report(kind), place(kind)];
                self.call(Fid::RTT_UNPROT_UNMAP, &args);
            }
            Step::Continue => {
                if let Some(handle) = self.handles.last().copied() {
                    let regs = self.machine.go_on(handle);
                    if regs.x(0) != u64::from(Status::Incomplete.raw()) {
                        self.handles.pop();
                    }
                }
            }
            Step::Access(r) => {
                let realm = self.realms.get(r);
                for (realm, ipa) in realm.into_iter().flat_map(|realm| every(*realm)) {
                    self.tlb.access(&self.machine, realm, ipa);
                }
            }
            Step::InterruptAfter(steps) => self.machine.fake().interrupt_after(steps),
        }
        self.tlb.forget(&self.machine);
    }

    fn check(&self) {
        let pending = !self.handles.is_empty();
        check(&self.machine, &self.realms, &self.tlb, pending);
    }

    /// Takes everything apart: the host can have all of its memory back, and nothing is in it.
    fn end(mut self) {
        self.machine.fake().interrupt_after(0);
        while !self.handles.is_empty() {
            self.run(Step::Continue);
        }
        self.tlb.forget(&self.machine);
        self.check();
        for realm in std::mem::take(&mut self.realms) {
            let rd = realm.rd;
            self.machine
                .expect(Fid::REALM_TERMINATE, [rd], Status::Success, []);
            self.machine.empty_table(rd, 0, 1);
            self.machine
                .expect(Fid::REALM_DESTROY, [rd], Status::Success, []);
        }
        self.tlb.forget(&self.machine);
        self.check();
        self.machine.undelegate_all();
    }
}

proptest! {
    // Each case is a hundred commands, and a look at all memory after each of them.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 8,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_granule_is_lost(steps in prop::collection::vec(step(), 1..120)) {
        let mut host = Host::new();
        for step in steps {
            host.run(step);
            host.check();
        }
        host.end();
    }
}

/// Several CPUs at once, on the same granules and IPAs: no model can tell what each call does, but
/// what must be true is true in the end, and nobody waits for ever.
#[test]
fn cpus_do_not_get_in_each_others_way() {
    let host = Host::new();
    let (machine, rd) = (&host.machine, host.realms[0].rd);
    let work = |seed: u64| {
        let mut numbers = Numbers(seed);
        for _ in 0..3000 {
            let granule = Memory(5 + numbers.below(GRANULES - 5)).pa();
            let (page, block) = (numbers.below(4), numbers.below(3));
            let half = numbers.below(2) * SHARED;
            let base = half + block * block_size(2);
            let ipa = base + page * block_size(3);
            let top = ipa + block_size(3);
            let next = granule + GRANULE_SIZE;
            let (fid, args) = match numbers.below(9) {
                0 | 1 => (Fid::GRANULE_RANGE_DELEGATE, vec![granule, next]),
                2 => (Fid::GRANULE_RANGE_UNDELEGATE, vec![granule, next]),
                3 => (Fid::RTT_CREATE, vec![rd, granule, base, 3]),
                4 => (Fid::RTT_DESTROY, vec![rd, base, 3]),
                5 => (Fid::RTT_FOLD, vec![rd, base, 3]),
                6 if half == 0 => {
                    let block = desc(granule, 1, 3);
                    (Fid::RTT_DATA_MAP, vec![rd, ipa, top, SINGLE, block])
                }
                6 => {
                    let block = ns_desc(granule, 1, 3);
                    (
                        Fid::RTT_UNPROT_MAP,
                        vec![rd, ipa, top, SINGLE | WRITE_BACK, block],
                    )
                }
                7 if half == 0 => (Fid::RTT_DATA_UNMAP, vec![rd, base, top, SINGLE, 0]),
                7 => (Fid::RTT_UNPROT_UNMAP, vec![rd, base, top, SINGLE, 0]),
                _ if half == 0 => (Fid::RTT_DATA_MAP_INIT, vec![rd, granule, ipa, PAGE, 0]),
                _ => (Fid::RTT_READ_ENTRY, vec![rd, ipa, 3]),
            };
            machine.call(fid, &args);
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || work(seed));
        }
    });
    host.end();
}

/// The memory that a realm leaves behind is cleared before anybody else gets it.
#[test]
fn nobody_reads_what_a_realm_has_left() {
    let mut host = Host::new();
    let data = Memory(GRANULES).pa();
    let map = |ipa| Step::Map(0, Ipa(ipa), Memory(GRANULES), 1, 3);
    host.run(map(0));
    host.machine.fake().realm_write(data, &SECRET);
    host.run(Step::Unmap(0, Ipa(0), 1, 0));
    // Another IPA; a table; the host.
    host.run(map(block_size(3)));
    assert_eq!(host.machine.fake().data(data), [0; GRANULE_WORDS]);
    host.machine.fake().realm_write(data, &SECRET);
    host.run(Step::Unmap(0, Ipa(block_size(3)), 1, 0));
    host.run(Step::Undelegate(Memory(GRANULES), 1));
    assert_eq!(host.machine.fake().pas(data), Pas::NonSecure);
    assert_eq!(host.machine.fake().data(data), [0; GRANULE_WORDS]);
    let state = host.machine.rmm.granules().state(PhysAddr::new(data));
    assert_eq!(state, Some(State::Undelegated));
    host.end();
}
