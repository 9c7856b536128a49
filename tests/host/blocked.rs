// SPDX-License-Identifier: GPL-2.0

//! Another realm's operations that wait for memory hold all the places that the RMM has for operations:
//! whoever wants to begin one is BLOCKED until one of them ends. A bystander waits, and lives.

use crate::faults::life;
use crate::life::{give_back, Guest};
use crate::machine::{Host, Page};
use crate::rmm_machine::{pa, Machine};
use ::rmm::rmi::Dialect;
use ::rmm::sro::PLACES;
use kvm_arm_rmi::rmi::{Delegated, Fid, GranuleRange, Regs, SharedPage, Status};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// How often in a row the bystander is told that it is blocked.
const TIMES: u64 = 5;

/// Another realm, and operations of its: RECs that wait for memory.
struct Others<'h> {
    guest: Guest<'h>,
    list: Page,
    granules: Vec<GranuleRange<Delegated>>,
    operations: Rc<Operations>,
}

struct Operations {
    machine: Rc<Machine>,
    rd: u64,
    /// Granules for RECs.
    idle: RefCell<Vec<u64>>,
    /// Granules of RECs that are being made, and the handles of the operations.
    waiting: RefCell<Vec<(u64, u64)>>,
    /// A page of the host's.
    list: u64,
}

impl<'h> Others<'h> {
    /// A realm that can have more operations than there are places.
    fn new(host: &'h Host) -> Self {
        let (guest, list) = (Guest::new(host), host.page());
        let granules: Vec<_> = (0..=PLACES).map(|_| guest.delegated(0)).collect();
        let idle = granules.iter().map(|rec| rec.range().base().raw());
        let operations = Operations {
            machine: host.machine.clone(),
            rd: guest.rd().raw(),
            idle: RefCell::new(idle.collect()),
            waiting: RefCell::new(Vec::new()),
            list: list.pa().raw(),
        };
        Self {
            operations: Rc::new(operations),
            guest,
            list,
            granules,
        }
    }

    /// Ends what was begun, and takes the realm down.
    fn end(self) {
        while self.operations.end_one() {}
        assert_eq!(self.operations.idle.borrow().len(), self.granules.len());
        let host = self.guest.host;
        for granule in self.granules {
            give_back(host, granule);
        }
        host.put(self.list);
        self.guest.tear_down();
        assert_eq!(host.machine.fake().realm_granules(), 0);
        assert_eq!(host.allocated(), 0);
    }
}

impl Operations {
    /// Begins operations until there is no place left.
    fn begin_all(&self) {
        loop {
            let rec = *self.idle.borrow().last().expect("more RECs than places");
            let regs = self
                .machine
                .call(Fid::REC_CREATE, &[self.rd, rec, self.list]);
            if is_blocked(&regs) {
                return;
            }
            assert_eq!(regs.x(0), 0x10d);
            self.idle.borrow_mut().pop();
            self.waiting.borrow_mut().push((rec, regs.x(1)));
        }
    }

    /// Ends the oldest operation: it gets a granule that it cannot have. False if there is none.
    fn end_one(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            return false;
        }
        let (rec, handle) = waiting.remove(0);
        let mut data = self.machine.fake().data(self.list);
        data[0] = pa(0) | 1 << 2;
        self.machine.fake().host_write(self.list, &data);
        let step = |fid, args: &[u64]| self.machine.call(fid, args).x(0);
        assert_eq!(step(Fid::OP_MEM_DONATE, &[handle, self.list, 1]), 0x20d);
        assert_eq!(step(Fid::OP_MEM_RECLAIM, &[handle, self.list, 1]), 0xd);
        assert_eq!(step(Fid::OP_CONTINUE, &[handle, 0]), 1);
        self.idle.borrow_mut().push(rec);
        true
    }
}

/// Commands that need a place, and how many in a life.
fn need_a_place(dialect: Dialect) -> Vec<(Fid, u64)> {
    let host = Host::speaking(dialect);
    assert_eq!(life(&host), Ok(()));
    let mut stateful = vec![
        Fid::REC_CREATE,
        Fid::REC_DESTROY,
        Fid::RTT_DATA_MAP,
        Fid::RTT_DATA_UNMAP,
        Fid::RTT_UNPROT_UNMAP,
    ];
    if dialect == Dialect::Bet2 {
        stateful.extend([Fid::REALM_CREATE, Fid::REALM_DESTROY]);
    }
    let calls = stateful.into_iter();
    calls
        .map(|fid| (fid, crate::life::calls(&host, fid)))
        .collect()
}

/// True if an answer says that an operation has to end first.
fn is_blocked(regs: &Regs) -> bool {
    regs.x(0) == u64::from(Status::Blocked.raw())
}

#[test]
fn a_bystander_lives_through_others_operations() {
    for dialect in [Dialect::Main, Dialect::Bet2] {
        let host = Host::speaking(dialect);
        let others = Others::new(&host);

        // All places are taken whenever the bystander begins something.
        let blocked = Rc::new(RefCell::new(BTreeMap::<u32, u64>::new()));
        let (told, operations) = (blocked.clone(), others.operations.clone());
        let mut again = false;
        host.rmi.conduit().replace(move |args, rmm| {
            let fid = args.x(0) as u32;
            let goes_on = [Fid::OP_CONTINUE, Fid::OP_MEM_DONATE, Fid::OP_MEM_RECLAIM];
            if !again && !goes_on.iter().any(|step| step.raw() == fid) {
                operations.begin_all();
            }
            let regs = rmm(args);
            again = is_blocked(&regs);
            if again {
                *told.borrow_mut().entry(fid).or_default() += 1;
            }
            regs
        });
        // Of every few times that it waits, one helps.
        let (operations, mut waits) = (others.operations.clone(), 0);
        host.rmi.conduit().meanwhile(move || {
            waits += 1;
            if waits % TIMES == 0 {
                assert!(operations.end_one());
            }
        });

        assert_eq!(life(&host), Ok(()), "{dialect:?}");
        let expected = need_a_place(dialect).into_iter();
        let expected: BTreeMap<_, _> = expected.map(|(fid, n)| (fid.raw(), n * TIMES)).collect();
        assert_eq!(*blocked.borrow(), expected, "{dialect:?}");

        host.rmi.conduit().replace(|args, rmm| rmm(args));
        others.end();
    }
}

/// Nobody ends their operations: the bystander gives up some time, and may try again.
#[test]
fn a_bystander_does_not_wait_for_ever() {
    let host = Host::new();
    let others = Others::new(&host);
    others.operations.begin_all();
    let waits = Rc::new(Cell::new(0u64));
    let count = waits.clone();
    host.rmi
        .conduit()
        .meanwhile(move || count.set(count.get() + 1));
    let mut bystander = Guest::new(&host);
    let error = bystander.try_rec(0).unwrap_err();
    assert_eq!(error.status(), Some(Status::Blocked));
    assert_eq!(waits.get(), 999);
    assert!(others.operations.end_one());
    bystander.try_rec(0).unwrap();
    bystander.tear_down();
    others.end();
    host.assert_idle();
}
