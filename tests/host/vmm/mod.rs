// SPDX-License-Identifier: GPL-2.0

//! A realm whose host takes nothing for granted: what `rust/` does with the kernel's means is done
//! here with those of a test. Each step may fail; the end never does.

mod running;

use crate::life::PARAMS;
use crate::machine::{self, Host, Page};
use crate::private;
use kvm_arm_rmi::mmu::{self, map_protected, Step};
use kvm_arm_rmi::mmu::{Kept, Part, Parting};
use kvm_arm_rmi::realm::{chunk_of, note, PageSet};
use kvm_arm_rmi::realm::{destroy_tables, Realm, Refused, State};
use kvm_arm_rmi::realm::{MissingTable, TableSet, Tables};
use kvm_arm_rmi::rec::Vcpu;
use kvm_arm_rmi::rmi::cmd::data::{self, Access, Measure, MemAttr, Pieces};
use kvm_arm_rmi::rmi::cmd::realm::{RdName, RealmGranules};
use kvm_arm_rmi::rmi::cmd::rec::{self, Rec};
use kvm_arm_rmi::rmi::{
    AddrRange,
    Delegated,
    Error,
    GranuleRange,
    IpaRange,
    IpaSpace,
    Pages,
    PhysAddr,
    Protected,
    RttLevel,
    SharedPage, //
};
use std::ops::Range;

const PAGE: u64 = 0x1000;

/// Why a step has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// The RMM.
    Rmm(Error),
    /// There is no memory.
    NoMemory,
    /// The realm is not in that state (any more).
    State(State),
    /// The REC does not run, or has not done what it was to do.
    Exit,
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        match error {
            Error::NoMemory(_) => Self::NoMemory,
            error => Self::Rmm(error),
        }
    }
}

impl From<Refused> for Why {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::State(state) => Self::State(state),
            Refused::Rmm(error) => error.into(),
        }
    }
}

type Result<T = ()> = std::result::Result<T, Why>;

/// What is written down of tables and pages; that takes memory.
struct Notes<'h> {
    host: &'h Host,
    tables: machine::Set,
    pages: private::Set,
    shared: private::Set,
}

impl TableSet for Notes<'_> {
    fn has(&self, table: MissingTable) -> bool {
        self.tables.has(table)
    }
    fn reserve(&self, _: MissingTable) -> bool {
        self.host.may_allocate()
    }
    fn insert(&self, table: MissingTable) {
        self.tables.insert(table);
    }
    fn remove(&self, table: MissingTable) {
        self.tables.remove(table);
    }
    fn any(&self, level: RttLevel) -> Option<MissingTable> {
        self.tables.any(level)
    }
}

type Parted<'a, 'h> = Parting<'a, machine::Smc, Notes<'h>, private::Set>;

/// What was not unmapped is an error.
fn kept(part: Part) -> Result {
    match part.kept {
        None => Ok(()),
        Some(Kept::Refused(error)) => Err(error.into()),
        Some(Kept::Block) => panic!("{part:?}"),
    }
}

/// A realm's host.
pub(crate) struct Vmm<'h> {
    host: &'h Host,
    realm: Realm,
    notes: Notes<'h>,
    recs: Vec<(Option<Rec>, Vcpu, Page)>,
    list: Option<Page>,
    space: IpaSpace,
}

impl<'h> Vmm<'h> {
    /// # Errors
    ///
    /// No memory.
    pub(crate) fn new(host: &'h Host) -> Result<Self> {
        Ok(Self {
            host,
            realm: Realm::None,
            notes: Notes {
                host,
                tables: machine::Set::default(),
                pages: private::Set::default(),
                shared: private::Set::default(),
            },
            recs: Vec::new(),
            list: Some(host.try_page().ok_or(Why::NoMemory)?),
            space: IpaSpace::new(39).unwrap(),
        })
    }

    fn alloc(&self, order: u32) -> Result<GranuleRange<Delegated>> {
        let granules = self.host.alloc(order).ok_or(Why::NoMemory)?;
        let moved = granules.delegate(&self.host.rmi);
        moved.rest.into_iter().for_each(|rest| self.host.free(rest));
        match (moved.done, moved.error) {
            (Some(granules), None) => Ok(granules),
            (done, error) => {
                done.into_iter().for_each(|done| self.free(done));
                Err(error.unwrap().into())
            }
        }
    }

    fn free(&self, granules: GranuleRange<Delegated>) {
        let moved = granules.undelegate(&self.host.rmi);
        moved.done.into_iter().for_each(|done| self.host.free(done));
        moved
            .rest
            .into_iter()
            .for_each(|rest| rest.leak(&self.host.rmi));
    }

    fn name(&self) -> Result<RdName> {
        self.realm.name().ok_or(Why::State(self.realm.state()))
    }

    fn tables(&self) -> Tables<'_, Notes<'h>> {
        Tables {
            set: &self.notes,
            start: RttLevel::L1,
        }
    }

    fn range(&self, gfns: &Range<u64>) -> IpaRange<Protected> {
        let range = self.space.protected(gfns.start * PAGE, gfns.end * PAGE);
        range.unwrap()
    }

    /// Does something that needs the page for lists.
    fn with_list<R>(&mut self, f: impl FnOnce(&mut Self, &mut Page) -> R) -> R {
        let mut list = self.list.take().unwrap();
        let result = f(self, &mut list);
        self.list = Some(list);
        result
    }

    pub(crate) fn create(&mut self) -> Result {
        let host = self.host;
        let mut page = host.try_page().ok_or(Why::NoMemory)?;
        let made = self.with_list(|this, list| {
            let rd = this.alloc(0)?;
            let roots = match this.alloc(0) {
                Ok(roots) => roots,
                Err(why) => {
                    this.free(rd);
                    return Err(why);
                }
            };
            let granules = RealmGranules { rd, roots };
            let memory = (host, list);
            let made = this
                .realm
                .create(&host.rmi, granules, &PARAMS, &mut page, memory);
            made.map_err(|(why, granules)| {
                if let Some(granules) = granules {
                    this.free(granules.rd);
                    this.free(granules.roots);
                }
                why.into()
            })
        });
        host.put(page);
        made
    }

    fn make_table(&self, table: MissingTable) -> Result {
        let granule = self.alloc(0)?;
        let name = self.name()?;
        match self.tables().create(&self.host.rmi, name, table, granule) {
            Ok(left) => {
                left.into_iter().for_each(|left| self.free(left));
                Ok(())
            }
            Err(failed) => {
                failed.granules.into_iter().for_each(|left| self.free(left));
                Err(failed.error.into())
            }
        }
    }

    /// Sees to it that something can be mapped at `gfn`.
    fn prepare(&self, gfn: u64) -> Result {
        while let Some(table) = self.tables().missing(gfn * PAGE, RttLevel::L3) {
            self.make_table(table)?;
        }
        match self.host.may_allocate() {
            true => {
                self.notes.pages.reserve(chunk_of(gfn));
                Ok(())
            }
            false => Err(Why::NoMemory),
        }
    }

    /// Makes a table and folds it.
    pub(crate) fn fold(&mut self, gfn: u64) -> Result {
        self.prepare(gfn)?;
        let level = RttLevel::L3;
        let table = MissingTable {
            level,
            ipa: gfn * PAGE,
        };
        let name = self.name()?;
        let granule = self.tables().fold(&self.host.rmi, name, table)?;
        self.free(granule);
        Ok(())
    }

    pub(crate) fn populate(&mut self, gfn: u64) -> Result {
        if self.realm.state() != State::New {
            return Err(Why::State(self.realm.state()));
        }
        self.prepare(gfn)?;
        let source = self.host.try_page().ok_or(Why::NoMemory)?;
        let mapped = self.alloc(0).and_then(|data| {
            let (name, ipa) = (self.name()?, gfn * PAGE);
            let how = Measure::Contents;
            let mapped = data::map_init(&self.host.rmi, name, data, ipa, source.pa(), how);
            mapped.map_err(|failed| {
                failed.granules.into_iter().for_each(|left| self.free(left));
                failed.error.into()
            })
        });
        self.host.put(source);
        mapped.map(|()| note(&self.notes.pages, &(gfn..gfn + 1)))
    }

    pub(crate) fn add_rec(&mut self) -> Result {
        let host = self.host;
        let name = self.name()?;
        let params = rec::Params {
            runnable: self.recs.is_empty(),
            mpidr: self.recs.len() as u64,
            pc: 0,
            gprs: [0; 8],
        };
        let run = host.try_page().ok_or(Why::NoMemory)?;
        let made = self.with_list(|this, list| {
            let mut page = host.try_page().ok_or(Why::NoMemory)?;
            let made = this.alloc(0).and_then(|granule| {
                let rmi = &host.rmi;
                rec::create(rmi, name, granule, &params, &mut page, host, list).map_err(|failed| {
                    failed.granules.into_iter().for_each(|left| this.free(left));
                    failed.error.into()
                })
            });
            host.put(page);
            made
        });
        match made {
            Ok(rec) => {
                self.recs.push((Some(rec), Vcpu::new(), run));
                Ok(())
            }
            Err(why) => {
                host.put(run);
                Err(why)
            }
        }
    }

    pub(crate) fn init_ripas(&mut self, gfns: Range<u64>) -> Result {
        let mut left = Some(self.range(&gfns));
        while let Some(range) = left {
            left = match mmu::init_ripas(&self.host.rmi, self.name()?, &self.tables(), range) {
                Step::Done => None,
                Step::Until(at) => range.from(at),
                Step::NeedTable(at, table) => {
                    self.make_table(table)?;
                    range.from(at)
                }
                Step::Failed(_, error) => return Err(error.into()),
            };
        }
        Ok(())
    }

    pub(crate) fn activate(&mut self) -> Result {
        Ok(self.realm.activate(&self.host.rmi)?)
    }

    /// Maps private memory that is scattered.
    pub(crate) fn fault(&mut self, gfns: Range<u64>) -> Result {
        self.prepare(gfns.start)?;
        let range = self.range(&gfns);
        let mut pieces = Pieces::new();
        let mut result = Ok(());
        for _ in gfns.clone() {
            result = result.and_then(|()| self.alloc(0).map(|one| pieces.push(one).unwrap()));
        }
        let result = result.and_then(|()| {
            let name = self.name()?;
            self.with_list(|this, list| {
                let tables = this.tables();
                let rmi = &this.host.rmi;
                let step =
                    map_protected(rmi, name, &tables, range, &mut pieces, RttLevel::L3, list);
                let (top, result) = match step {
                    Step::Done => (range.top(), Ok(())),
                    Step::Failed(top, error) => (top, Err(error.into())),
                    other => panic!("{other:?}"),
                };
                note(&this.notes.pages, &(gfns.start..top / PAGE));
                result
            })
        });
        while let Some(left) = pieces.pop() {
            self.free(left);
        }
        result
    }

    fn parting<'a>(&'a self, notes: &'a private::Set) -> Result<Parted<'a, 'h>> {
        Ok(Parting {
            rmi: &self.host.rmi,
            rd: self.name()?,
            tables: self.tables(),
            space: self.space,
            notes,
        })
    }

    /// Unmaps private memory, and gives it back.
    pub(crate) fn unmap(&mut self, gfns: Range<u64>) -> Result {
        let mut result = Ok(());
        let mut left = gfns;
        self.name()?;
        while let Some(part) = self.with_list(|this, list| {
            let parting = this.parting(&this.notes.pages).unwrap();
            parting.private(&left, list, |granules| this.free(granules))
        }) {
            left.start = part.top;
            result = result.and(kept(part));
        }
        result
    }

    /// Shares a page of the host's, or parts with all that is shared.
    pub(crate) fn share(&mut self, gfn: u64, page: &Page) -> Result {
        self.prepare(gfn)?;
        let base = page.pa();
        let memory = AddrRange::new(base, PhysAddr::new(base.raw() + PAGE)).unwrap();
        let range = self.space.unprotected(gfn * PAGE, (gfn + 1) * PAGE);
        let how = (MemAttr::Normal, Access::ReadWrite);
        self.notes.shared.reserve(chunk_of(gfn));
        note(&self.notes.shared, &(gfn..gfn + 1));
        loop {
            let (rmi, tables) = (&self.host.rmi, self.tables());
            let (range, level) = (range.unwrap(), RttLevel::L3);
            match mmu::map_unprotected(rmi, self.name()?, &tables, range, memory, level, how) {
                Step::Done => return Ok(()),
                Step::NeedTable(_, table) => self.make_table(table)?,
                Step::Failed(_, error) => return Err(error.into()),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn unshare(&mut self) -> Result {
        let mut result = Ok(());
        let parting = self.parting(&self.notes.shared)?;
        let mut left = 0..self.space.unprotected_bit() / PAGE;
        while let Some(part) = parting.shared(&left) {
            left.start = part.top;
            result = result.and(kept(part));
        }
        result
    }

    /// The end, whatever the RMM does.
    pub(crate) fn end(mut self) {
        let host = self.host;
        let terminated = self.with_list(|this, list| this.realm.terminate(&host.rmi, (host, list)));
        // What fails here is accounted for, and there is nobody to tell.
        let _ = self.unmap(0..self.space.unprotected_bit() / PAGE);
        if terminated.is_err() {
            let _ = self.unshare();
        }
        for (mut rec, _, page) in std::mem::take(&mut self.recs) {
            let gone = self.with_list(|_, list| rec::destroy(&host.rmi, &mut rec, host, list));
            match gone {
                Ok(granule) => granule.into_iter().for_each(|granule| self.free(granule)),
                Err(_) => rec.into_iter().for_each(|rec| rec.leak(&host.rmi)),
            }
            host.put(page);
        }
        if let Some(name) = self.realm.name() {
            let _ = destroy_tables(&host.rmi, name, &self.tables(), |table| self.free(table));
            match self.with_list(|this, list| this.realm.destroy(&host.rmi, (host, list))) {
                Ok(granules) => granules.into_iter().for_each(|granules| {
                    self.free(granules.rd);
                    self.free(granules.roots);
                }),
                Err(_) => self.realm.abandon(&host.rmi),
            }
        }
        host.rmi.write_off(host.rmi.conduit().counts());
        host.put(self.list.take().unwrap());
    }
}
