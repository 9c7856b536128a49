// SPDX-License-Identifier: GPL-2.0

//! Shared memory that is mapped where something is mapped already, and what is taken away of it: alone, to
//! the call.

use super::told::{count, record_all};
use super::*;
use crate::injection::{end, refuse_some, replace, replace_some};
use kvm_arm_rmi::rmi::{Fid, Regs, Status};
use kvm_arm_rmi::sys::machine::machine;
use kvm_arm_rmi::sys::trace::Event;

/// The first call of each of these commands is answered so.
fn refuse_each(mut commands: Vec<(Fid, Status)>) {
    replace(move |args, rmm| {
        let is = |(fid, _): &(Fid, Status)| args.x(0) == u64::from(fid.raw());
        match commands.iter().position(is) {
            Some(n) => Regs::new(commands.remove(n).1.raw().into(), &[]),
            None => rmm(args),
        }
    });
}

fn huge_slot(world: &World) {
    world.vm.add_slot(FAR..FAR + 512, HVA_FAR, None).unwrap();
    world.mm.collapse(HVA_FAR);
}

/// Half of a huge page is mapped; then all of it may be.
#[test]
fn a_huge_page_of_which_a_part_is_there() {
    alone(|world| {
        private_slot(world, FAR..FAR + 512);
        world.vm.set_private(FAR..FAR + 512, false).unwrap();
        world.vm.set_private(FAR + 8..FAR + 13, true).unwrap();
        world.mm.collapse(HVA_FAR);
        assert_eq!(world.run(0, [Op::Shared(FAR + 3)]), [true]);
        assert_eq!(there(FAR..FAR + 512, true).len(), 8);
        world.vm.set_private(FAR + 8..FAR + 13, false).unwrap();
        assert_eq!(world.run(0, [Op::Shared(FAR + 10)]), [true]);
        assert_eq!(there(FAR..FAR + 512, true).len(), 512);
    });
}

/// At the lowest IPA that there is as well, what is private is not shared.
#[test]
fn a_huge_page_at_the_bottom() {
    alone(|world| {
        world.vm.delete_slot(0).unwrap();
        private_slot(world, 0..512);
        world.vm.set_private(0..512, false).unwrap();
        world.vm.set_private(8..13, true).unwrap();
        world.mm.collapse(HVA_FAR);
        assert_eq!(world.run(0, [Op::Shared(3)]), [true]);
        assert_eq!(there(0..512, true), (0..8).collect::<Vec<_>>());
    });
}

/// What has no private memory is shared, whatever attributes say: a huge page as well.
#[test]
fn a_huge_page_without_private_memory() {
    alone(|world| {
        huge_slot(world);
        world.vm.set_private(FAR + 5..FAR + 9, true).unwrap();
        assert!(world.run(0, []).is_empty());
        let all = record_all();
        let result = world.vm.run(0, &mut Guest::new([Op::Shared(FAR + 7)]));
        end();
        assert_eq!(result, Ok(Exit::None));
        assert_eq!(count(&all, Fid::RTT_UNPROT_MAP), 1);
        assert_eq!(there(FAR..FAR + 512, true).len(), 512);
    });
}

/// What the RMM finds in the place of a huge page goes, and one hears of it.
#[test]
fn what_is_in_the_way_goes() {
    alone(|world| {
        huge_slot(world);
        assert!(world.run(0, []).is_empty());
        refuse_some(Fid::RTT_UNPROT_MAP, (0, 1), Status::ErrorRtt);
        machine().events();
        assert_eq!(world.run(0, [Op::Shared(FAR)]), [true]);
        end();
        let all = FAR..FAR + 512;
        let heard = machine()
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Unmap(_, false, gfns, granules) => Some((gfns, granules)),
                Event::Map(_, false, gfns) => Some((gfns, 0)),
                _ => None,
            });
        let heard: Vec<_> = heard.collect();
        assert_eq!(heard, [(all.clone(), 512), (all, 0)]);
    });
}

/// It does not go: that is the realm's end.
#[test]
fn what_is_in_the_way_stays() {
    alone(|world| {
        assert!(world.run(0, []).is_empty());
        refuse_each(vec![
            (Fid::RTT_UNPROT_MAP, Status::ErrorRtt),
            (Fid::RTT_UNPROT_UNMAP, Status::ErrorRec),
        ]);
        let result = world.vm.run(0, &mut Guest::new([Op::Shared(SHARED)]));
        end();
        assert_eq!(result, Err((EIO, Exit::None)));
    });
}

/// A block of which the RMM says that it has unmapped a part: a page behind that is not known to be gone,
/// and no vCPU runs any more.
#[test]
fn a_block_that_is_unmapped_in_part() {
    for granules in [1, 9] {
        alone(move |world| {
            huge_slot(world);
            assert_eq!(world.run(0, [Op::Shared(FAR)]), [true]);
            replace_some(Fid::RTT_UNPROT_UNMAP, (0, u64::MAX), move |args, _| {
                Regs::new(0, &[args.x(2) + granules * GRANULE_SIZE])
            });
            let page = HVA_FAR + 9 * GRANULE_SIZE;
            world.mm.discard(page..page + GRANULE_SIZE);
            end();
            let dead = world.vm.run(0, &mut Guest::new(private(0..1)));
            assert_eq!(dead, Err((EIO, Exit::None)), "{granules}");
        });
    }
}

/// Between any two commands that unmap, others can have `mmu_lock`.
#[test]
fn who_takes_much_away_lets_others_pass() {
    alone(|world| {
        let all = FAR..FAR + 3 * 512;
        world.vm.add_slot(all.clone(), HVA_FAR, None).unwrap();
        let touched = [0, 512 + 3, 3 * 512 - 1].map(|n| Op::Shared(FAR + n));
        assert_eq!(world.run(0, touched), [true; 3]);
        let calls = record_all();
        let before = machine().rescheds();
        world.mm.discard(HVA_FAR..HVA_FAR + 3 * 512 * GRANULE_SIZE);
        end();
        assert_eq!(count(&calls, Fid::RTT_UNPROT_UNMAP), 3);
        assert_eq!(machine().rescheds() - before, 2);
        assert_eq!(there(all, true), []);
    });
}

/// While the RMM is busy others can run.
#[test]
fn who_waits_for_the_rmm_lets_others_run() {
    alone(|world| {
        world.populate(0..1).unwrap();
        let times = |world: &World, gfn: u64| {
            let before = machine().rescheds();
            world.populate(gfn..gfn + 1).unwrap();
            machine().rescheds() - before
        };
        let without = times(world, 1);
        refuse_some(Fid::GRANULE_RANGE_DELEGATE, (0, 5), Status::Busy);
        assert_eq!(times(world, 2), without + 5);
        end();
    });
}
