// SPDX-License-Identifier: GPL-2.0

//! A machine in miniature: an allocator, and who owns each granule. Nothing is freed twice, and
//! nothing is freed while the RMM has it: the model panics.

use crate::fake::{status, success};
use kvm_arm_rmi::rmi::{
    AddrRange,
    Fid,
    GranuleRange,
    Pages,
    PhysAddr,
    Regs,
    Status,
    Undelegated,
    GRANULE_SIZE, //
};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Granules by number.
#[derive(Default)]
pub(crate) struct World {
    allocated: BTreeSet<u64>,
    delegated: BTreeSet<u64>,
    next: u64,
    /// Granules that may still be allocated.
    left: u64,
}

/// A world that several parts of a test look at.
#[derive(Clone)]
pub(crate) struct Shared(Rc<RefCell<World>>);

fn numbers(range: AddrRange) -> impl Iterator<Item = u64> {
    range.base().raw() / GRANULE_SIZE..range.top().raw() / GRANULE_SIZE
}

impl Shared {
    /// A world with memory for `granules` granules.
    pub(crate) fn new(granules: u64) -> Self {
        Self(Rc::new(RefCell::new(World {
            next: 0x8_0000,
            left: granules,
            ..World::default()
        })))
    }

    /// Granules that are allocated.
    pub(crate) fn allocated(&self) -> usize {
        self.0.borrow().allocated.len()
    }

    /// Granules that are delegated.
    pub(crate) fn delegated(&self) -> usize {
        self.0.borrow().delegated.len()
    }

    /// The delegation commands, by the whole range.
    pub(crate) fn move_granules(&self, fid: Fid, args: &Regs) -> Regs {
        let range = AddrRange::new(PhysAddr::new(args.x(1)), PhysAddr::new(args.x(2)));
        let mut world = self.0.borrow_mut();
        for n in numbers(range.expect("the host names whole granules")) {
            let moved = match fid {
                Fid::GRANULE_RANGE_DELEGATE => world.delegated.insert(n),
                Fid::GRANULE_RANGE_UNDELEGATE => world.delegated.remove(&n),
                other => panic!("{other}"),
            };
            if !moved {
                return status(Status::ErrorInput);
            }
        }
        success(&[args.x(2)])
    }
}

impl Pages for Shared {
    fn alloc(&self, order: u32) -> Option<GranuleRange<Undelegated>> {
        let mut world = self.0.borrow_mut();
        let count = 1u64 << order;
        world.left = world.left.checked_sub(count)?;
        let base = world.next.next_multiple_of(count);
        world.next = base + count;
        world.allocated.extend(base..base + count);
        let range = AddrRange::new(
            PhysAddr::new(base * GRANULE_SIZE),
            PhysAddr::new((base + count) * GRANULE_SIZE),
        );
        // SAFETY: No such memory exists here, and nothing ever looks at it.
        range.map(|range| unsafe { GranuleRange::new(range) })
    }

    fn free(&self, granules: GranuleRange<Undelegated>) {
        let mut world = self.0.borrow_mut();
        for n in numbers(granules.into_range()) {
            assert!(!world.delegated.contains(&n), "{n:#x} is the RMM's");
            assert!(world.allocated.remove(&n), "{n:#x} is not allocated");
            world.left += 1;
        }
    }
}
