// SPDX-License-Identifier: GPL-2.0

//! Another realm's operations that wait for memory hold all the places that the RMM has for operations:
//! whoever wants to begin one is BLOCKED until one of them ends. A bystander waits, and lives.

use super::*;
use crate::injection::end;
use crate::rmm_machine::pa;
use ::rmm::sro::PLACES;
use kvm_arm_rmi::sys::guest::Guest;
use kvm_arm_rmi::sys::vcpu::Exit;
use std::cell::RefCell;
use std::rc::Rc;

/// How often in a row the bystander is told that it is blocked.
const TIMES: u64 = 5;

/// A page that the host does not use.
const LIST: u64 = pa(16);

/// Operations of another realm's: RECs that wait for memory. They are begun behind the host's back, with
/// memory that it does not use.
struct Operations {
    rd: u64,
    /// Granules for RECs.
    idle: Vec<u64>,
    /// Granules of RECs that are being made, and the handles of the operations.
    waiting: Vec<(u64, u64)>,
}

impl Operations {
    /// The realm with that RD can have more operations than there are places.
    fn new(rd: u64) -> Self {
        let idle: Vec<u64> = (0..=PLACES as u64).map(|n| pa(64 + n)).collect();
        rmm_machine().delegate(idle[0], idle.len() as u64);
        Self {
            rd,
            idle,
            waiting: Vec::new(),
        }
    }

    /// Begins operations until there is no place left.
    fn begin_all(&mut self) {
        loop {
            let rec = *self.idle.last().expect("more RECs than places");
            let regs = rmm_machine().call(Fid::REC_CREATE, &[self.rd, rec, LIST]);
            if is_blocked(&regs) {
                return;
            }
            assert_eq!(regs.x(0), 0x10d);
            self.idle.pop();
            self.waiting.push((rec, regs.x(1)));
        }
    }

    /// Ends the oldest operation: it gets a granule that it cannot have. False if there is none.
    fn end_one(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let (rec, handle) = self.waiting.remove(0);
        let machine = rmm_machine();
        let parameters = machine.fake().data(LIST);
        let mut list = parameters;
        list[0] = pa(0) | 1 << 2;
        machine.fake().host_write(LIST, &list);
        let step = |fid, args: &[u64]| machine.call(fid, args).x(0);
        assert_eq!(step(Fid::OP_MEM_DONATE, &[handle, LIST, 1]), 0x20d);
        assert_eq!(step(Fid::OP_MEM_RECLAIM, &[handle, LIST, 1]), 0xd);
        assert_eq!(step(Fid::OP_CONTINUE, &[handle, 0]), 1);
        machine.fake().host_write(LIST, &parameters);
        self.idle.push(rec);
        true
    }

    /// Ends what was begun.
    fn end(&mut self) {
        while self.end_one() {}
        assert_eq!(self.idle.len(), PLACES + 1);
        for pa in self.idle.drain(..) {
            let args = [pa, pa + GRANULE_SIZE];
            let regs = rmm_machine().call(Fid::GRANULE_RANGE_UNDELEGATE, &args);
            assert_eq!(regs.0[..2], [0, args[1]]);
        }
    }
}

/// True if an answer says that an operation has to end first.
fn is_blocked(regs: &Regs) -> bool {
    regs.x(0) == u64::from(Status::Blocked.raw())
}

/// Commands that need a place, and how often a life calls them.
fn need_a_place(dialect: Dialect) -> Vec<(u32, u64)> {
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
    let good = good_life(dialect);
    let calls = stateful.into_iter().map(|fid| (fid.raw(), good.calls(fid)));
    calls.collect()
}

/// The RD of the realm that is there.
fn rd() -> u64 {
    let machine = rmm_machine();
    let is = |pa: &u64| {
        let at = kvm_arm_rmi::rmi::PhysAddr::new(*pa);
        machine.rmm.granules().state(at) == Some(::rmm::granule::State::Rd)
    };
    let all = machine.fake().in_realm_space();
    all.into_iter().find(is).expect("a realm")
}

#[test]
fn a_bystander_lives_through_others_operations() {
    for dialect in [Dialect::Main, Dialect::Bet2] {
        let (life, blocked) = on_host(dialect, |host| {
            let others = host.bystander();
            let operations = Rc::new(RefCell::new(Operations::new(rd())));
            // All places are taken whenever somebody begins something. Of every few times that one is
            // refused for that, one helps.
            let blocked = Rc::new(RefCell::new(BTreeMap::<u32, u64>::new()));
            let (told, theirs) = (blocked.clone(), operations.clone());
            let mut again = 0;
            replace(move |args, rmm| {
                let fid = args.x(0) as u32;
                let goes_on = [Fid::OP_CONTINUE, Fid::OP_MEM_DONATE, Fid::OP_MEM_RECLAIM];
                if again == 0 && !goes_on.iter().any(|step| step.raw() == fid) {
                    theirs.borrow_mut().begin_all();
                }
                let regs = rmm(args);
                match is_blocked(&regs) {
                    true => again += 1,
                    false => again = 0,
                }
                if again != 0 {
                    *told.borrow_mut().entry(fid).or_default() += 1;
                }
                if again != 0 && again % TIMES == 0 {
                    assert!(theirs.borrow_mut().end_one());
                }
                regs
            });
            let result = host.life();
            end();
            operations.borrow_mut().end();
            others.end();
            (host.outcome(result), blocked.take())
        });
        assert_eq!(life.result, Ok(()), "{dialect:?}");
        life.assert_idle(&format!("{dialect:?}"));
        let expected = need_a_place(dialect).into_iter();
        let expected: BTreeMap<_, _> = expected.map(|(fid, n)| (fid, n * TIMES)).collect();
        assert_eq!(blocked, expected, "{dialect:?}");
    }
}

/// Nobody ends their operations: the bystander gives up some time, and may try again.
#[test]
fn a_bystander_does_not_wait_for_ever() {
    let (life, calls) = on_host(Dialect::Main, |host| {
        let others = host.bystander();
        let mut operations = Operations::new(rd());
        operations.begin_all();
        let bystander = host.vm().unwrap();
        let run = || bystander.vm.run(0, &mut Guest::new([]));
        assert_eq!(run(), Err((EIO, Exit::None)));
        let calls = calls()[&Fid::REC_CREATE.raw()];
        assert!(operations.end_one());
        assert_eq!(run(), Ok(Exit::None));
        bystander.end();
        operations.end();
        others.end();
        (host.outcome(Ok(())), calls)
    });
    assert_eq!(calls, (1000, 1000));
    life.assert_idle("in the end");
}
