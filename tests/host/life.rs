// SPDX-License-Identifier: GPL-2.0

//! Whole lives of realms on the embedded RMM: no command fails that the host could have foreseen,
//! and at the end nothing is left.

use crate::alone::alone;
use crate::machine::{Host, Page, Smc};
use kvm_arm_rmi::mmu::{self, map_protected, unmap_protected, Step};
use kvm_arm_rmi::realm::table_map::TableMap;
use kvm_arm_rmi::realm::Tables;
use kvm_arm_rmi::realm::{destroy_tables, Realm, Refused, State};
use kvm_arm_rmi::rmi::cmd::data::{self, Measure, Pieces, PIECES};
use kvm_arm_rmi::rmi::cmd::realm::{HashAlgorithm, Params, RdName, RealmGranules, Vmid};
use kvm_arm_rmi::rmi::cmd::rec::{self, Rec};
use kvm_arm_rmi::rmi::cmd::unprot::{Access, MemAttr};
use kvm_arm_rmi::rmi::{
    AddrRange,
    Delegated,
    Error,
    Fid,
    GranuleRange,
    IpaRange,
    IpaSpace,
    Pages,
    PhysAddr,
    Protected,
    Rmi,
    RttLevel,
    SharedPage,
    Undelegated,
    Unprotected, //
};

pub(crate) const PARAMS: Params = Params {
    s2sz: 39,
    lpa2: false,
    sve_vq: None,
    breakpoints: 2,
    watchpoints: 2,
    pmu_counters: None,
    hash: HashAlgorithm::Sha256,
    rpv: [0; 8],
    rtt_level_start: 1,
};

const PAGE: u64 = 0x1000;
const MIB: u64 = 0x10_0000;

/// A realm in the making.
pub(crate) struct Guest<'h> {
    pub(crate) host: &'h Host,
    pub(crate) realm: Realm,
    pub(crate) set: TableMap,
    pub(crate) recs: Vec<Rec>,
    pub(crate) list: Option<Page>,
    pub(crate) space: IpaSpace,
}

impl<'h> Guest<'h> {
    pub(crate) fn new(host: &'h Host) -> Self {
        let mut guest = Self {
            host,
            realm: Realm::None,
            set: TableMap::new().unwrap(),
            recs: Vec::new(),
            list: Some(host.page()),
            space: IpaSpace::new(39).unwrap(),
        };
        let granules = RealmGranules {
            rd: guest.delegated(0),
            roots: guest.delegated(0),
            vmid: Vmid::new(0),
        };
        let mut page = host.page();
        let list = guest.list.as_mut().unwrap();
        let created = guest
            .realm
            .create(&host.rmi, granules, &PARAMS, &mut page, (host, list));
        created.map_err(|(why, _)| why).unwrap();
        host.put(page);
        guest
    }

    pub(crate) fn delegated(&self, order: u32) -> GranuleRange<Delegated> {
        let moved = self.host.alloc(order).unwrap().delegate(&self.host.rmi);
        assert_eq!(moved.error, None);
        moved.done.unwrap()
    }

    pub(crate) fn rd(&self) -> RdName {
        self.realm.name().unwrap()
    }

    pub(crate) fn tables(&self) -> Tables<'_> {
        Tables {
            set: &self.set,
            start: RttLevel::L1,
        }
    }

    /// How many tables there are below the starting ones.
    pub(crate) fn table_count(&self) -> u64 {
        let levels = [RttLevel::L1, RttLevel::L2, RttLevel::L3];
        levels.map(|level| self.set.tables_at(level)).iter().sum()
    }

    pub(crate) fn range(&self, base: u64, size: u64) -> IpaRange<Protected> {
        self.space.protected(base, base + size).unwrap()
    }

    /// Goes on with what a step leaves until there is nothing left.
    pub(crate) fn make_table(&self, table: kvm_arm_rmi::realm::MissingTable) {
        let made = self
            .tables()
            .create(&self.host.rmi, self.rd(), table, self.delegated(0));
        made.unwrap();
    }

    pub(crate) fn map(&mut self, base: u64, size: u64, order: u32, level: RttLevel) {
        let mut at = base;
        while at < base + size {
            let mut pieces = Pieces::new();
            pieces.push(self.delegated(order)).unwrap();
            self.map_pieces(at, &mut pieces, level);
            at += PAGE << order;
        }
    }

    fn map_pieces(&mut self, base: u64, pieces: &mut Pieces, level: RttLevel) {
        let mut list = self.list.take().unwrap();
        let mut range = self.range(base, pieces.bytes());
        loop {
            let tables = self.tables();
            match map_protected(
                &self.host.rmi,
                self.rd(),
                &tables,
                range,
                (pieces, |_| {}),
                level,
                &mut list,
            ) {
                Step::Done => break,
                Step::NeedTable(at, table) => {
                    self.make_table(table);
                    range = range.from(at).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pieces.bytes(), 0);
        self.list = Some(list);
    }

    pub(crate) fn unmap(&mut self, base: u64, size: u64) -> u64 {
        let mut list = self.list.take().unwrap();
        let mut freed = 0;
        let mut range = self.range(base, size);
        loop {
            let step = unmap_protected(
                &self.host.rmi,
                self.rd(),
                &self.tables(),
                range,
                &mut list,
                |granules| freed += give_back(self.host, granules),
            );
            match step {
                Step::Done => break,
                Step::NeedTable(at, table) => {
                    self.make_table(table);
                    range = range.from(at).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
        self.list = Some(list);
        freed
    }

    pub(crate) fn init_ripas(&self, base: u64, size: u64) {
        let mut range = self.range(base, size);
        loop {
            match mmu::init_ripas(&self.host.rmi, self.rd(), &self.tables(), range) {
                Step::Done => break,
                Step::NeedTable(at, table) => {
                    self.make_table(table);
                    range = range.from(at).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Maps a page with contents, while the realm is New.
    pub(crate) fn populate(&self, ipa: u64) {
        let source = self.host.page();
        while let Some(table) = self.tables().missing(ipa, RttLevel::L3) {
            self.make_table(table);
        }
        let data = self.delegated(0);
        let measure = Measure::Contents;
        data::map_init(&self.host.rmi, self.rd(), data, ipa, source.pa(), measure).unwrap();
        self.host.put(source);
    }

    pub(crate) fn add_rec(&mut self) {
        self.try_rec(self.recs.len() as u64).unwrap();
    }

    /// Makes a REC with this MPIDR, if the RMM lets it.
    pub(crate) fn try_rec(&mut self, mpidr: u64) -> Result<(), Error> {
        let params = rec::Params {
            runnable: self.recs.is_empty(),
            mpidr,
            pc: 0x1000,
            gprs: [0; 8],
        };
        let granule = self.delegated(0);
        let mut page = self.host.page();
        let mut list = self.list.take().unwrap();
        let rmi = &self.host.rmi;
        let made = rec::create(
            rmi,
            self.rd(),
            granule,
            &params,
            &mut page,
            self.host,
            &mut list,
        );
        self.list = Some(list);
        self.host.put(page);
        match made {
            Ok(rec) => self.recs.push(rec),
            Err(failed) => {
                give_back(self.host, failed.granules.unwrap());
                return Err(failed.error);
            }
        }
        Ok(())
    }

    pub(crate) fn tear_down(mut self) {
        let host = self.host;
        let mut list = self.list.take().unwrap();
        self.realm.terminate(&host.rmi, (host, &mut list)).unwrap();
        assert_eq!(self.realm.state(), State::Dying);
        for rec in std::mem::take(&mut self.recs) {
            let granule = rec::destroy(&host.rmi, &mut Some(rec), host, &mut list).unwrap();
            give_back(host, granule.unwrap());
        }
        let each = |granules| {
            give_back(host, granules);
        };
        let (rmi, rd, tables) = (&host.rmi, self.rd(), self.tables());
        let all = self.range(0, self.space.unprotected_bit());
        let step = unmap_protected(rmi, rd, &tables, all, &mut list, each);
        assert_eq!(step, Step::Done);
        let all = self.space.all_unprotected().unwrap();
        unshare(rmi, rd, &tables, all, all);
        destroy_tables(&host.rmi, self.rd(), &self.tables(), |granules| {
            give_back(host, granules);
        })
        .unwrap();
        assert_eq!(self.table_count(), 0);
        let granules = self
            .realm
            .destroy(&host.rmi, (host, &mut list))
            .unwrap()
            .unwrap();
        give_back(host, granules.rd);
        give_back(host, granules.roots);
        assert_eq!(self.realm.state(), State::Dead);
        host.put(list);
    }
}

/// Unmaps shared memory, command by command.
fn unshare(
    rmi: &Rmi<Smc>,
    rd: RdName,
    tables: &Tables<'_>,
    range: IpaRange<Unprotected>,
    within: IpaRange<Unprotected>,
) {
    let mut left = Some(range);
    while let Some(range) = left {
        let gone = mmu::unmap_unprotected(rmi, rd, tables, range, within).unwrap();
        assert!(gone.contains(&range.base()));
        left = range.from(gone.end);
    }
}

/// Undelegates and frees; returns how many granules that were.
pub(crate) fn give_back(host: &Host, granules: GranuleRange<Delegated>) -> u64 {
    let back = granules.undelegate(&host.rmi);
    assert!(back.error.is_none() && back.rest.is_none());
    let done: GranuleRange<Undelegated> = back.done.unwrap();
    let count = done.range().granules();
    host.free(done);
    count
}

pub(crate) fn calls(host: &Host, fid: Fid) -> u64 {
    let mut commands = host.rmi.conduit().counts().commands();
    commands
        .find(|(f, ..)| *f == fid)
        .map_or(0, |(_, calls, _)| calls)
}

#[test]
fn a_realm_lives_and_leaves_nothing() {
    alone(|| {
        let host = Host::new();
        let mut guest = Guest::new(&host);
        for n in 0..5 {
            guest.populate(0x1000 + n * PAGE);
        }
        guest.init_ripas(0, 16 * MIB);
        guest.add_rec();
        guest.add_rec();
        guest.realm.activate(&host.rmi).unwrap();
        guest.map(2 * MIB, MIB, 4, RttLevel::L3);
        assert_eq!(guest.unmap(2 * MIB + 8 * PAGE, 16 * PAGE), 16);
        assert_eq!(
            guest.unmap(2 * MIB + 8 * PAGE, 16 * PAGE),
            0,
            "nothing is there any more"
        );
        guest.tear_down();
        host.assert_idle();
        assert_eq!(host.failed(), [], "all of it was foreseeable");
    });
}

#[test]
fn a_realm_that_never_ran_leaves_nothing_either() {
    alone(|| {
        let host = Host::new();
        Guest::new(&host).tear_down();
        let guest = Guest::new(&host);
        guest.populate(0x40_0000);
        guest.tear_down();
        host.assert_idle();
        assert_eq!(host.failed(), []);
    });
}

#[test]
fn teardown_takes_one_unmap_a_table_and_one_destroy_a_table() {
    alone(|| {
        let host = Host::new();
        let mut guest = Guest::new(&host);
        guest.add_rec();
        guest.realm.activate(&host.rmi).unwrap();
        // 256 pages in four tables of level 3, below one of level 2.
        for table in 0..4 {
            guest.map(table * 2 * MIB, 64 * PAGE, 4, RttLevel::L3);
        }
        let tables = guest.table_count();
        assert_eq!(tables, 5);
        guest.tear_down();
        host.assert_idle();
        assert_eq!(calls(&host, Fid::RTT_DESTROY), tables);
        assert_eq!(calls(&host, Fid::RTT_FOLD), 0);
        // Level 3 tables, the rest of the level 2 table, and the rest of the starting table.
        assert!(
            calls(&host, Fid::RTT_DATA_UNMAP) <= 6,
            "{}",
            calls(&host, Fid::RTT_DATA_UNMAP)
        );
        assert_eq!(host.failed(), []);
    });
}

#[test]
fn a_block_is_split_to_unmap_a_part_of_it() {
    alone(|| {
        let host = Host::new();
        let mut guest = Guest::new(&host);
        guest.init_ripas(0, 4 * MIB);
        guest.map(0, 2 * MIB, 9, RttLevel::L2);
        assert_eq!(guest.table_count(), 1, "a block needs no table of its own");
        assert_eq!(guest.unmap(5 * PAGE, 3 * PAGE), 3);
        assert_eq!(guest.table_count(), 2);
        assert_eq!(guest.unmap(0, 4 * MIB), 512 - 3);
        guest.tear_down();
        host.assert_idle();
        assert_eq!(host.failed(), []);
    });
}

#[test]
fn no_table_is_made_to_unmap_nothing() {
    alone(|| {
        let host = Host::new();
        let mut guest = Guest::new(&host);
        for (base, size) in [
            (0, PAGE),
            (5 * PAGE, 700 * PAGE),
            (1 << 30, MIB),
            (PAGE, 1 << 31),
        ] {
            assert_eq!(guest.unmap(base, size), 0);
        }
        assert_eq!(guest.table_count(), 0);
        guest.tear_down();
        host.assert_idle();
        assert_eq!(host.failed(), []);
    });
}

#[test]
fn unprotected_memory_is_mapped_by_pages_and_blocks_and_unmapped_without_a_table() {
    alone(|| {
        let host = Host::new();
        let guest = Guest::new(&host);
        let how = (MemAttr::Normal, Access::ReadWrite);
        let all = guest.space.all_unprotected().unwrap();
        for (base, size, level) in [
            (0, 16 * PAGE, RttLevel::L3),
            (2 * MIB, 2 * MIB, RttLevel::L2),
        ] {
            let memory = PhysAddr::new(0x4020_0000);
            let top = PhysAddr::new(0x4020_0000 + size);
            let memory = AddrRange::new(memory, top).unwrap();
            let range = guest.space.unprotected(base, base + size).unwrap();
            let rmi = &host.rmi;
            loop {
                let tables = guest.tables();
                match mmu::map_unprotected(rmi, guest.rd(), &tables, range, memory, level, how) {
                    Step::Done => break,
                    Step::NeedTable(_, table) => guest.make_table(table),
                    other => panic!("{other:?}"),
                }
            }
        }
        let tables = guest.table_count();
        // A page of the block: the block goes as a whole. Then everything, twice.
        for (base, size) in [
            (2 * MIB + 7 * PAGE, PAGE),
            (3 * PAGE, PAGE),
            (0, 8 * MIB),
            (0, 1 << 32),
        ] {
            let range = guest.space.unprotected(base, base + size).unwrap();
            unshare(&host.rmi, guest.rd(), &guest.tables(), range, all);
        }
        assert_eq!(guest.table_count(), tables);
        guest.tear_down();
        host.assert_idle();
        assert_eq!(host.failed(), []);
    });
}

#[test]
fn states_have_an_order() {
    alone(|| {
        let host = Host::new();
        let mut guest = Guest::new(&host);
        let mut list = guest.list.take().unwrap();
        let refused = guest.realm.destroy(&host.rmi, (&host, &mut list)).map(drop);
        assert_eq!(refused, Err(Refused::State(State::New)));
        assert_eq!(guest.realm.state(), State::New);
        let granules = RealmGranules {
            rd: guest.delegated(0),
            roots: guest.delegated(0),
            vmid: Vmid::new(0),
        };
        let mut page = host.page();
        let again = guest
            .realm
            .create(&host.rmi, granules, &PARAMS, &mut page, (&host, &mut list));
        let Err((Refused::State(State::New), Some(granules))) = again else {
            panic!("a realm is created twice");
        };
        give_back(&host, granules.rd);
        give_back(&host, granules.roots);
        host.put(page);
        guest.realm.activate(&host.rmi).unwrap();
        assert_eq!(
            guest.realm.activate(&host.rmi),
            Err(Refused::State(State::Active))
        );
        guest.list = Some(list);
        guest.tear_down();
        host.assert_idle();

        let mut list = host.page();
        let mut none = Realm::None;
        assert_eq!(none.activate(&host.rmi), Err(Refused::State(State::None)));
        none.terminate(&host.rmi, (&host, &mut list)).unwrap();
        assert_eq!(none.state(), State::Dead);
        host.put(list);
        host.assert_idle();
    });
}

/// Pieces that are not next to each other are mapped by one command.
#[test]
fn scattered_memory_is_mapped_by_one_command() {
    alone(|| {
        let host = Host::new();
        let mut guest = Guest::new(&host);
        guest.add_rec();
        guest.realm.activate(&host.rmi).unwrap();
        let mut pieces = Pieces::new();
        let mut spacers = Vec::new();
        for _ in 0..PIECES {
            pieces.push(guest.delegated(0)).unwrap();
            spacers.push(host.alloc(0).unwrap());
        }
        let one_more = guest.delegated(0);
        let one_more = pieces.push(one_more).unwrap_err();
        assert_eq!(pieces.bytes(), PIECES as u64 * PAGE);
        guest.map_pieces(3 * PAGE, &mut pieces, RttLevel::L3);
        assert_eq!(calls(&host, Fid::RTT_DATA_MAP), 1);

        assert_eq!(guest.unmap(3 * PAGE, PIECES as u64 * PAGE), PIECES as u64);
        give_back(&host, one_more);
        for spacer in spacers {
            host.free(spacer);
        }
        guest.tear_down();
        host.assert_idle();
        assert_eq!(host.failed(), []);
    });
}
