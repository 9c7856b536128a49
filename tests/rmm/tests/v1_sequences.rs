// SPDX-License-Identifier: GPL-2.0

//! RMI 1.0: random sequences of commands on realms and their tables, as in `realm_sequences`. No granule is
//! lost, in two places, in the wrong world, or in a TLB after it has gone.

mod common;

use common::ghost::{check, Realm, Tlb, SECRET};
use common::realm::{param, params, PAGE, SHARED};
use common::steps::{every, step, Ipa, Memory, Numbers, Step, GRANULES};
use common::v1::{
    DATA_CREATE, DATA_CREATE_UNKNOWN, DATA_DESTROY, GRANULE_DELEGATE, GRANULE_UNDELEGATE,
    RTT_MAP_UNPROTECTED, RTT_UNMAP_UNPROTECTED, VMID, WRITE_BACK,
};
use common::Machine;
use kvm_arm_rmi::rmi::{Fid, Status, GRANULE_SIZE};
use proptest::prelude::*;
use rmm::platform::GRANULE_WORDS;
use rmm::rmi::Dialect;
use rmm::rtt::block_size;

/// Most granules that a step is about: what RMI 2.0 does in one call takes as many here.
const MOST: u64 = 8;

/// The host, and what it believes to be so.
struct Host {
    machine: Machine,
    realms: Vec<Realm>,
    tlb: Tlb,
    /// The VMID that the next realm gets.
    vmid: u16,
}

impl Host {
    /// A host with a realm that has a few tables, so that most of what follows makes sense.
    fn new() -> Self {
        let mut host = Self {
            machine: Machine::speaking(Dialect::V1),
            realms: Vec::new(),
            tlb: Tlb::default(),
            vmid: 0,
        };
        for step in [
            Step::Delegate(Memory(0), 7),
            Step::Create(Memory(0), Memory(1)),
            Step::CreateTable(0, Memory(2), Ipa(0), 2),
            Step::CreateTable(0, Memory(3), Ipa(0), 3),
            Step::InitRipas(0, Ipa(0), 3),
            Step::CreateTable(0, Memory(4), Ipa(SHARED), 2),
        ] {
            host.run(step);
        }
        assert_eq!(host.realms.len(), 1);
        let block = Memory(GRANULES).pa();
        host.machine.delegate_each(block, block + 2 * block_size(2));
        host
    }

    /// The RD of realm `n`, or something that is none.
    fn rd(&self, n: usize) -> u64 {
        self.realms.get(n).map_or(PAGE, |realm| realm.rd)
    }

    /// Makes a call. Returns true if it has succeeded.
    fn call(&self, fid: Fid, args: &[u64]) -> bool {
        self.machine.call(fid, args).x(0) == 0
    }

    fn create(&mut self, rd: u64, root: u64) {
        let mut page = params();
        page[param::RTT_BASE] = root;
        page[VMID] = u64::from(self.vmid);
        self.machine.fake().host_write(PAGE, &page);
        if self.call(Fid::REALM_CREATE, &[rd, PAGE]) {
            self.tlb.add(rd, self.vmid);
            self.realms.push(Realm { rd, root });
            self.vmid = (self.vmid + 1) % 200;
        }
    }

    /// As many granules from `m` on as a step may be about, beside the IPAs from `ipa` on.
    fn pages(m: Memory, Ipa(ipa): Ipa, n: u64) -> impl Iterator<Item = (u64, u64)> {
        let offsets = (0..n.min(MOST)).map(|n| n * GRANULE_SIZE);
        offsets.map(move |offset| (m.pa() + offset, ipa + offset))
    }

    fn run(&mut self, step: Step) {
        let above = |Ipa(ipa): Ipa, level| ipa & !(block_size(level - 1) - 1);
        match step {
            Step::Delegate(m, n) => {
                for (pa, _) in Self::pages(m, Ipa(0), n) {
                    self.call(GRANULE_DELEGATE, &[pa]);
                }
            }
            Step::Undelegate(m, n) => {
                for (pa, _) in Self::pages(m, Ipa(0), n) {
                    if self.call(GRANULE_UNDELEGATE, &[pa]) {
                        assert_eq!(self.machine.fake().data(pa), [0; GRANULE_WORDS]);
                    }
                }
            }
            Step::Create(rd, root) => self.create(rd.pa(), root.pa()),
            Step::Activate(r) => {
                self.call(Fid::REALM_ACTIVATE, &[self.rd(r)]);
            }
            Step::Destroy(r) => {
                let rd = self.rd(r);
                if self.call(Fid::REALM_DESTROY, &[rd]) {
                    self.realms.retain(|realm| realm.rd != rd);
                }
            }
            Step::CreateTable(r, m, ipa, level) => {
                let args = [self.rd(r), m.pa(), above(ipa, level), level as u64];
                self.call(Fid::RTT_CREATE, &args);
            }
            Step::DestroyTable(r, ipa, level) => {
                let args = [self.rd(r), above(ipa, level), level as u64];
                self.call(Fid::RTT_DESTROY, &args);
            }
            Step::Fold(r, ipa, level) => {
                let args = [self.rd(r), above(ipa, level), level as u64];
                self.call(Fid::RTT_FOLD, &args);
            }
            Step::InitRipas(r, Ipa(ipa), n) => {
                let top = ipa + n * GRANULE_SIZE;
                self.call(Fid::RTT_INIT_RIPAS, &[self.rd(r), ipa, top]);
            }
            // A whole table of pages, which can be folded then.
            Step::Map(r, Ipa(ipa), m, 512, _) => {
                let (base, block) = (ipa & !(block_size(2) - 1), m.pa() & !(block_size(2) - 1));
                for offset in (0..block_size(2)).step_by(GRANULE_SIZE as usize) {
                    let args = [self.rd(r), block + offset, base + offset];
                    self.call(DATA_CREATE_UNKNOWN, &args);
                }
            }
            Step::Map(r, ipa, m, n, _) => {
                for (pa, ipa) in Self::pages(m, ipa, n) {
                    self.call(DATA_CREATE_UNKNOWN, &[self.rd(r), pa, ipa]);
                }
            }
            Step::MapInit(r, Ipa(ipa), m) => {
                self.call(DATA_CREATE, &[self.rd(r), m.pa(), ipa, PAGE, 1]);
            }
            Step::Unmap(r, ipa, n, _) => {
                for (_, ipa) in Self::pages(Memory(0), ipa, n) {
                    self.call(DATA_DESTROY, &[self.rd(r), ipa]);
                }
            }
            Step::Share(r, Ipa(ipa), m, _, level) => {
                let desc = m.pa() | WRITE_BACK;
                self.call(RTT_MAP_UNPROTECTED, &[self.rd(r), ipa, level as u64, desc]);
            }
            Step::Unshare(r, Ipa(ipa), _, kind) => {
                let level = 3 - kind.min(2);
                self.call(RTT_UNMAP_UNPROTECTED, &[self.rd(r), ipa, level]);
            }
            Step::Access(r) => {
                let realm = self.realms.get(r);
                for (realm, ipa) in realm.into_iter().flat_map(|realm| every(*realm)) {
                    self.tlb.access(&self.machine, realm, ipa);
                }
            }
            Step::InterruptAfter(steps) => self.machine.fake().interrupt_after(steps),
            // RMI 1.0 knows neither.
            Step::Terminate(_) | Step::Continue => {}
        }
        self.tlb.forget(&self.machine);
    }

    fn check(&self) {
        check(&self.machine, &self.realms, &self.tlb, false);
    }

    /// Takes everything apart: the host can have all of its memory back, and nothing is in it.
    fn end(mut self) {
        for realm in std::mem::take(&mut self.realms) {
            self.machine.v1_empty_table(realm.rd, 0, 1);
            self.machine
                .expect(Fid::REALM_DESTROY, [realm.rd], Status::Success, []);
        }
        self.tlb.forget(&self.machine);
        self.check();
        self.machine.v1_undelegate_all();
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

/// The memory that a realm leaves behind is cleared before anybody else gets it.
#[test]
fn nobody_reads_what_a_realm_has_left() {
    let mut host = Host::new();
    let data = Memory(GRANULES).pa();
    for ipa in [0, block_size(3)] {
        host.run(Step::Map(0, Ipa(ipa), Memory(GRANULES), 1, 3));
        assert_eq!(host.machine.fake().data(data), [0; GRANULE_WORDS]);
        host.machine.fake().realm_write(data, &SECRET);
        host.run(Step::Unmap(0, Ipa(ipa), 1, 0));
    }
    host.run(Step::Undelegate(Memory(GRANULES), 1));
    assert!(!host.machine.is_delegated(data));
    assert_eq!(host.machine.fake().data(data), [0; GRANULE_WORDS]);
    host.end();
}

/// Several CPUs at once, on the same granules and IPAs: what must be true is true in the end, and nobody
/// waits for ever.
#[test]
fn cpus_do_not_get_in_each_others_way() {
    let host = Host::new();
    let (machine, rd) = (&host.machine, host.realms[0].rd);
    let work = |seed: u64| {
        let mut numbers = Numbers(seed);
        let mut below = |limit| numbers.below(limit);
        for _ in 0..3000 {
            let granule = Memory(5 + below(GRANULES - 5)).pa();
            let half = below(2) * SHARED;
            let base = half + below(3) * block_size(2);
            let ipa = base + below(4) * block_size(3);
            let (fid, args) = match below(9) {
                0 | 1 => (GRANULE_DELEGATE, vec![granule]),
                2 => (GRANULE_UNDELEGATE, vec![granule]),
                3 => (Fid::RTT_CREATE, vec![rd, granule, base, 3]),
                4 => (Fid::RTT_DESTROY, vec![rd, base, 3]),
                5 => (Fid::RTT_FOLD, vec![rd, base, 3]),
                6 if half == 0 => (DATA_CREATE_UNKNOWN, vec![rd, granule, ipa]),
                6 => (RTT_MAP_UNPROTECTED, vec![rd, ipa, 3, granule | WRITE_BACK]),
                7 if half == 0 => (DATA_DESTROY, vec![rd, ipa]),
                7 => (RTT_UNMAP_UNPROTECTED, vec![rd, ipa, 3]),
                _ if half == 0 => (DATA_CREATE, vec![rd, granule, ipa, PAGE, 0]),
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
