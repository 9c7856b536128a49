// SPDX-License-Identifier: GPL-2.0

//! What must be true of the tables of all realms together, whatever has happened; and TLBs that keep
//! what they have seen until they are told to forget it.

use std::collections::{BTreeMap, BTreeSet};

use kvm_arm_rmi::rmi::{PhysAddr, GRANULE_SIZE};
use rmm::granule::{Rtt, State};
use rmm::platform::GRANULE_WORDS;
use rmm::rtt::{block_size, Entry, Ripas, Table, ENTRIES};

use super::{Machine, OWN, RAM, RAM_TOP};

/// A realm as the host knows it: stage 2 starts with one table at level 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Realm {
    pub(crate) rd: u64,
    pub(crate) root: u64,
}

/// A translation that a CPU remembers: realm and IPA of a granule.
type Cached = (u64, u64);

/// The TLBs of the machine.
#[derive(Default)]
pub(crate) struct Tlb {
    /// Where the granules are; `None` for memory of the host's.
    entries: BTreeMap<Cached, Option<u64>>,
    /// The VMIDs of the realms, by RD.
    vmids: BTreeMap<u64, u16>,
}

impl Tlb {
    /// A realm has been created, and has this VMID.
    pub(crate) fn add(&mut self, rd: u64, vmid: u16) {
        let old = self.entries.keys().find(|(other, _)| *other == rd);
        assert_eq!(old, None, "a VMID is used again with translations left");
        self.vmids.insert(rd, vmid);
    }

    /// The realm accesses `ipa`: its translation is remembered.
    pub(crate) fn access(&mut self, machine: &Machine, realm: Realm, ipa: u64) {
        if let Some(pa) = translate(machine, realm, ipa) {
            self.entries.insert((realm.rd, ipa), pa);
        }
    }

    /// Forgets what the RMM has told the TLBs to forget.
    pub(crate) fn forget(&mut self, machine: &Machine) {
        for (vmid, ipas) in machine.fake().invalidated() {
            let vmids = &self.vmids;
            self.entries
                .retain(|(rd, ipa), _| vmids.get(rd) != Some(&vmid) || !ipas.contains(ipa));
        }
    }

    /// Checks that no realm can reach memory that is no longer its own.
    fn check(&self, machine: &Machine, realms: &[Realm]) {
        for ((rd, ipa), pa) in &self.entries {
            let Some(pa) = pa else { continue };
            let realm = realms.iter().find(|realm| realm.rd == *rd);
            let now = realm.map(|realm| translate(machine, *realm, *ipa));
            assert_eq!(now, Some(Some(Some(*pa))), "stale: {rd:#x} {ipa:#x}");
        }
    }
}

/// What the hardware makes of `ipa`: nothing, memory of the host's, or the realm's own.
#[allow(clippy::option_option, reason = "three cases, used here only")]
fn translate(machine: &Machine, realm: Realm, ipa: u64) -> Option<Option<u64>> {
    let mut table = realm.root;
    for level in 1.. {
        let mut data = machine.fake().data(table);
        let index = (ipa / block_size(level)) as usize % ENTRIES;
        match Table::view(&mut data, level, false).get(index) {
            Entry::Table(next) => table = next.raw(),
            Entry::Assigned(Ripas::Ram, pa) => {
                return Some(Some(pa.raw() + ipa % block_size(level)))
            }
            Entry::AssignedNs(..) => return Some(None),
            _ => return None,
        }
    }
    None
}

/// How often each granule is referred to, as memory of a realm's and as a table.
struct Uses {
    data: Vec<u32>,
    tables: Vec<u32>,
}

/// The number of the granule at `pa`.
fn number(pa: u64) -> usize {
    ((pa - RAM) / GRANULE_SIZE) as usize
}

impl Uses {
    fn none() -> Self {
        let none = vec![0; number(RAM_TOP)];
        Self {
            data: none.clone(),
            tables: none,
        }
    }

    /// Counts what a table at `level` refers to, and checks its own count.
    fn add(&mut self, machine: &Machine, table: u64, level: i8, shared: &dyn Fn(usize) -> bool) {
        self.tables[number(table)] += 1;
        let mut data = machine.fake().data(table);
        let view = Table::view(&mut data, level, false);
        let entries: Vec<Entry> = (0..ENTRIES).map(|index| view.get(index)).collect();
        let mut count = 0;
        for (index, entry) in entries.into_iter().enumerate() {
            match entry {
                Entry::Table(below) => {
                    count += 1;
                    let half = shared(index);
                    self.add(machine, below.raw(), level + 1, &|_| half);
                }
                Entry::Assigned(_, pa) => {
                    count += 1;
                    assert!(!shared(index) && pa.raw() % block_size(level) == 0);
                    for offset in (0..block_size(level)).step_by(GRANULE_SIZE as usize) {
                        self.data[number(pa.raw() + offset)] += 1;
                    }
                }
                Entry::Pending(_) => {
                    count += 1;
                    assert!(!shared(index));
                }
                Entry::Unassigned(_) => assert!(!shared(index)),
                Entry::UnassignedNs | Entry::AssignedNs(..) => assert!(shared(index)),
            }
        }
        let granules = machine.rmm.granules();
        let granule = granules.lock::<Rtt>(PhysAddr::new(table)).expect("a table");
        assert_eq!(granule.count(), count, "{table:#x}");
    }
}

/// Checks that every granule is in one world, in one place and in one role, that tables count what
/// they refer to, and that nothing is left in a TLB. `pending` is true while a stateful operation has
/// memory of its own.
pub(crate) fn check(machine: &Machine, realms: &[Realm], tlb: &Tlb, pending: bool) {
    let mut uses = Uses::none();
    let in_realm_space: BTreeSet<u64> = machine.fake().in_realm_space().into_iter().collect();
    for realm in realms {
        // The upper half of the IPA space is shared.
        uses.add(machine, realm.root, 1, &|index| index >= ENTRIES / 2);
    }
    for pa in (RAM..RAM_TOP).step_by(GRANULE_SIZE as usize) {
        if OWN.contains(&pa) {
            continue;
        }
        let state = machine.rmm.granules().state(PhysAddr::new(pa));
        let undelegated = state == Some(State::Undelegated);
        assert_ne!(undelegated, in_realm_space.contains(&pa), "{pa:#x}");
        let (data, tables) = (uses.data[number(pa)], uses.tables[number(pa)]);
        match state {
            Some(State::Data) => assert!(data == 1 || data == 0 && pending, "{pa:#x}"),
            _ => assert_eq!(data, 0, "{pa:#x} {state:?}"),
        }
        assert_eq!(tables, u32::from(state == Some(State::Rtt)), "{pa:#x}");
        let rd = realms.iter().any(|realm| realm.rd == pa);
        assert_eq!(rd, state == Some(State::Rd), "{pa:#x}");
    }
    tlb.check(machine, realms);
}

/// A word that realms leave in their memory, to be found if another can read it.
pub(crate) const SECRET: [u64; GRANULE_WORDS] = [0x5ec2_e75e_c2e7; GRANULE_WORDS];
