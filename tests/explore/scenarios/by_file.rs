// SPDX-License-Identifier: GPL-2.0

//! VMMs that set no memory attributes: either half of a slot may be used at any time. Also what any VMM
//! is told of a fault, and can answer.

use super::*;
use kvm_arm_rmi::uapi::{
    KVM_ARM_RMI_FAULT_ACCESS, KVM_ARM_RMI_FAULT_MEMORY, KVM_ARM_RMI_FAULT_REJECT,
    KVM_ARM_RMI_FAULT_RIPAS,
};

/// A scenario of such a VMM.
fn by_file(vcpus: &[u32], first: impl FnOnce(&World), parts: Vec<Part>) {
    scenario_by(By::File, 32, vcpus, first, parts, |_| {});
}

/// The same, with one vCPU and one part.
fn alone_by_file(test: impl Fn(&World) + Send + Sync + Clone + 'static) {
    crate::alone(move || by_file(&[0], nothing, vec![part(test.clone())]));
}

fn fault(gfns: Range<u64>, private: bool) -> (Error, Exit) {
    let exit = Exit::MemoryFault {
        gpa: gfns.start * GRANULE_SIZE,
        size: (gfns.end - gfns.start) * GRANULE_SIZE,
        private,
    };
    (EFAULT, exit)
}

/// Neither half makes an exit, nor does one take from the other.
#[test]
fn both_halves_at_once() {
    alone_by_file(|world| {
        world.populate(0..2).unwrap();
        let all = [private(0..8), shared(0..8)].concat();
        let wanted = all.len();
        let mut guest = Guest::new(all);
        assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
        assert_eq!(guest.results, vec![true; wanted]);
        let both = [false, true].map(|shared| there(0..8, shared));
        assert_eq!(both, [(0..8).collect::<Vec<_>>(), (0..8).collect()]);
        assert_eq!(
            world.vm.pre_fault(0, 40 * GRANULE_SIZE..42 * GRANULE_SIZE),
            Ok(())
        );
        world.assert_all_private(40..42);
    });
}

/// User space is asked about each change, once, and agrees by going on; it has taken back what it wants.
#[test]
fn going_on_is_to_agree() {
    alone_by_file(|world| {
        assert_eq!(world.run(0, private(0..8)), [true; 8]);
        for (ram, gfns) in [(false, 2..6), (true, 2..6), (true, 2..6)] {
            let mut guest = Guest::new([ripas(gfns.clone(), ram, true)]);
            assert_eq!(world.vm.run(0, &mut guest), Err(fault(gfns.clone(), ram)));
            assert_eq!(world.vm.fault_cause(0), KVM_ARM_RMI_FAULT_RIPAS);
            world.convert(gfns, ram);
            assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
            assert_eq!(guest.results, [true]);
        }
        // What was punched out is new.
        assert_eq!(there(0..8, false), [0, 1, 6, 7]);
        assert_eq!(world.run(0, private(2..6)), [true; 4]);
    });
}

/// A change that covers two slots is two questions, and what lies between them a third.
#[test]
fn a_question_for_each_slot() {
    alone_by_file(|world| {
        let file = Gmem::new();
        let second = GRANULES + 8..GRANULES + 16;
        let slot = world.vm.add_slot(second.clone(), HVA_FAR, Some((&file, 0)));
        slot.unwrap();
        let mut guest = Guest::new([ripas(60..second.end, true, true)]);
        let gap = GRANULES..second.start;
        assert_eq!(world.vm.run(0, &mut guest), Err(fault(60..GRANULES, true)));
        assert_eq!(world.vm.run(0, &mut guest), Err(fault(gap, true)));
        // Nothing is there, and the rest is refused.
        assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
        assert_eq!(guest.results, [false]);
        let mut guest = Guest::new([ripas(60..second.end, false, true)]);
        let questions = [60..GRANULES, second];
        for gfns in questions {
            assert_eq!(world.vm.run(0, &mut guest), Err(fault(gfns, false)));
        }
        assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
        assert_eq!(guest.results, [true]);
    });
}

/// What stays in the file although the realm wants it EMPTY is there again when it wants RAM.
#[test]
fn what_is_not_punched_out() {
    alone_by_file(|world| {
        private_file(world, FAR..FAR + 512);
        assert_eq!(world.run(0, private(FAR..FAR + 4)), [true; 4]);
        for ram in [false, true] {
            let mut guest = Guest::new([ripas(FAR..FAR + 512, ram, true)]);
            assert_eq!(world.vm.run(0, &mut guest), Err(fault(FAR..FAR + 512, ram)));
            assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
            assert_eq!(guest.results, [true]);
        }
        let still: Vec<_> = (FAR..FAR + 4).collect();
        assert_eq!(there(FAR..FAR + 512, false), still);
        assert_eq!(world.run(0, private(FAR..FAR + 8)), [true; 8]);
    });
}

/// A slot with a file, of a VMM that sets no attributes.
fn private_file(world: &World, gfns: Range<u64>) {
    let file = Some((&Gmem::new(), 0));
    world.vm.add_slot(gfns, HVA_FAR, file).unwrap();
}

/// Attributes that come when the realm is made mean nothing to it.
#[test]
fn attributes_that_come_too_late() {
    alone_by_file(|world| {
        world.begin().unwrap();
        world.vm.set_private(4..8, true).unwrap();
        let mut guest = Guest::new([private(0..4), shared(4..8)].concat());
        assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
        assert_eq!(guest.results, [true; 8]);
        world.vm.set_private(4..8, false).unwrap();
        let mut guest = Guest::new(private(4..8));
        assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
        assert_eq!(guest.results, [true; 4]);
    });
}

/// Those that are there say what may be populated: the first half, and nothing else.
#[test]
fn attributes_that_come_in_time() {
    alone_by_file(|world| {
        world.vm.set_private(0..4, true).unwrap();
        assert_eq!(world.populate(4..5), Err(EINVAL));
        world.populate(0..1).unwrap();
        let mut guest = Guest::new(private(4..5));
        assert_eq!(world.vm.run(0, &mut guest), Err(fault(4..5, true)));
        assert_eq!(world.vm.fault_cause(0), KVM_ARM_RMI_FAULT_ACCESS);
        let mut guest = Guest::new(shared(2..3));
        assert_eq!(world.vm.run(0, &mut guest), Err(fault(2..3, false)));
        assert_eq!(world.vm.fault_cause(0), KVM_ARM_RMI_FAULT_ACCESS);
    });
}

/// The realm is told of a refusal, of all that is left, and of that only.
#[test]
fn user_space_says_no() {
    for by in [By::Attributes, By::File] {
        crate::alone(move || {
            let refuses = part(|world| {
                let mut guest = Guest::new([ripas(0..8, false, true)]);
                assert_eq!(world.vm.run(0, &mut guest), Err(fault(0..8, false)));
                world.convert(0..8, false);
                assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
                let mut guest = Guest::new([ripas(0..8, true, true), Op::Private(9)]);
                assert_eq!(world.vm.run(0, &mut guest), Err(fault(0..8, true)));
                // No answer: nothing happens until there is one.
                world.vm.answer_fault(0, 2);
                for _ in 0..2 {
                    let result = world.vm.run(0, &mut guest);
                    assert_eq!(result.unwrap_err().0, EINVAL);
                }
                world.vm.answer_fault(0, KVM_ARM_RMI_FAULT_REJECT);
                assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
                assert_eq!(guest.results, [false, true]);
                // The answer was to that.
                assert_eq!(world.run(0, [ripas(0..8, true, true)]), [true]);
                assert_eq!(world.run(0, private(0..8)), [true; 8]);
            });
            scenario_by(by, 32, &[0], nothing, vec![refuses], |_| {});
        });
    }
}

/// The cause of an exit is that exit's, whatever the one before was about.
#[test]
fn the_cause_is_that_of_this_exit() {
    alone_by_file(|world| {
        let mut guest = Guest::new([ripas(0..1, false, true)]);
        assert_eq!(world.vm.run(0, &mut guest), Err(fault(0..1, false)));
        assert_eq!(world.vm.fault_cause(0), KVM_ARM_RMI_FAULT_RIPAS);
        world.convert(0..1, false);
        assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
        world.mm.protect(hvas(3..4).start, false);
        let result = world.vm.run(0, &mut Guest::new(shared(3..4)));
        assert_eq!(result, Err((EFAULT, Exit::None)));
        assert_eq!(world.vm.fault_cause(0), KVM_ARM_RMI_FAULT_MEMORY);
        world.gmem.close();
        let result = world.vm.run(0, &mut Guest::new(private(40..41)));
        assert_eq!(result, Err(fault(40..41, true)));
        assert_eq!(world.vm.fault_cause(0), KVM_ARM_RMI_FAULT_MEMORY);
    });
}

/// Both vCPUs use both halves while the VMM takes some of either back.
#[test]
fn both_halves_and_what_takes_them() {
    explore(|| {
        let ops = |gfns: Range<u64>| [private(gfns.clone()), shared(gfns)].concat();
        let parts = vec![
            tries(0, ops(0..4)),
            tries(1, ops(2..6)),
            punches(1..3),
            discards(3..5),
        ];
        by_file(&[0, 1], start_second, parts);
    });
}

/// A change to EMPTY and back, which user space agrees to, while another vCPU uses the same memory.
#[test]
fn a_change_and_the_other_half() {
    explore(|| {
        let there_and_back = [false, true].map(|ram| ripas(0..8, ram, true));
        let first = |world: &World| {
            start_second(world);
            after(private(0..8))(world);
        };
        let parts = vec![
            runs(0, there_and_back.to_vec()),
            tries(1, [shared(0..4), private(2..6)].concat()),
            discards(0..2),
        ];
        by_file(&[0, 1], first, parts);
    });
}
