// SPDX-License-Identifier: GPL-2.0

//! First runs, and vCPUs that are turned on and off.

use super::*;
use crate::injection::{self, block};
use kvm_arm_rmi::rmi::run::offset;
use kvm_arm_rmi::rmi::{Fid, Regs, Status};
use kvm_arm_rmi::sys::machine::machine;
use kvm_arm_rmi::sys::user::OneReg;
use kvm_arm_rmi::uapi::{
    KVM_ARM_VM_RMI_HASH_ALGO as HASH, KVM_ARM_VM_RMI_HASH_ALGOS as HASHES,
    KVM_ARM_VM_RMI_RPV as RPV,
};

fn fid(args: &Regs) -> Fid {
    Fid::from_raw(args.x(0) as u32)
}

/// From now on the RMM refuses this command.
fn refuse(refused: Fid) {
    injection::refuse_some(refused, (0, u64::MAX), Status::ErrorRealm);
}

/// From now on RECs exit for a RIPAS change of no memory at all.
fn misreport() {
    const RIPAS_CHANGE: u64 = 4;
    injection::replace(|args, rmm| {
        let results = rmm(args);
        if fid(args) == Fid::REC_ENTER {
            let reason = args.x(2) + offset::EXIT_REASON as u64;
            machine().firmware().write(reason, RIPAS_CHANGE);
        }
        results
    });
}

#[test]
fn first_runs_of_three() {
    explore(|| {
        let parts = vec![
            runs(0, private(0..1)),
            part(|world| {
                let _ = world.vm.run(1, &mut Guest::new(shared(SHARED..SHARED + 1)));
            }),
            part(|world| {
                let _ = world.vm.run(2, &mut Guest::new([]));
            }),
            part(|world| {
                shuttle::thread::yield_now();
                world.vm.stop();
            }),
        ];
        scenario(&[0, 1, 2], nothing, parts);
    });
}

/// Numbers with a gap are refused, also if two run at once.
#[test]
fn first_runs_with_a_gap() {
    explore(|| {
        let refused = |n| {
            part(move |world| {
                let result = world.vm.run(n, &mut Guest::new([]));
                assert_eq!(result, Err((EINVAL, Exit::None)));
            })
        };
        scenario(&[0, 5], nothing, vec![refused(0), refused(1)]);
    });
}

#[test]
fn a_first_run_and_registers() {
    explore(|| {
        let parts = vec![
            runs(0, private(0..1)),
            part(|world| {
                // Another PC, until it is a REC; the same at any time.
                let other = OneReg {
                    id: PC,
                    words: [4, 0, 0, 0, 0, 0, 0, 0],
                };
                let result = world.vm.may_set_reg(1, &other);
                assert!(matches!(result, Ok(false) | Err(EBUSY)), "{result:?}");
                let same = OneReg {
                    id: PC,
                    words: [0; 8],
                };
                assert_eq!(world.vm.may_set_reg(1, &same), Ok(true));
            }),
        ];
        scenario(&[0, 1], nothing, parts);
    });
}

/// Who has a vCPU's mutex and wants `slots_lock` is not waited for with that lock held.
#[test]
fn a_first_run_and_an_ioctl_that_takes_long() {
    explore(|| {
        let parts = vec![
            runs(0, private(0..1)),
            part(|world| {
                world
                    .vm
                    .with_mutex(1, || world.vm.set_private(40..41, true).unwrap());
            }),
        ];
        scenario(&[0, 1], nothing, parts);
    });
}

/// What the realm was made with, by populate, cannot be changed before the first run.
#[test]
fn a_realm_that_was_made_with_something_else() {
    explore(|| {
        let parts = vec![part(|world| {
            let result = world.vm.run(0, &mut Guest::new([]));
            assert_eq!(result, Err((EINVAL, Exit::None)));
        })];
        let first = |world: &World| {
            world.populate(0..1).unwrap();
            world.vm.set_id_aa64dfr0(0x0010_2000);
        };
        scenario(&[0], first, parts);
    });
}

/// What the RMM has been told of a vCPU by a first run that then failed cannot be changed any more.
#[test]
fn a_first_run_that_fails_half_way() {
    explore(|| {
        let parts = vec![part(|world| {
            refuse(Fid::RTT_INIT_RIPAS);
            let result = world.vm.run(0, &mut Guest::new([]));
            assert!(result.is_err(), "{result:?}");
            injection::end();
            world.vm.set_x0(0, 1);
            let result = world.vm.run(0, &mut Guest::new([]));
            assert_eq!(result, Err((EBUSY, Exit::None)));
            world.vm.set_x0(0, 0);
            assert_eq!(world.run(0, private(0..1)), [true]);
        })];
        scenario(&[0], nothing, parts);
    });
}

/// The realm is not activated: it never runs, and it is too late to populate it, for good.
#[test]
fn a_realm_that_is_not_activated() {
    explore(|| {
        let parts = vec![part(|world| {
            refuse(Fid::REALM_ACTIVATE);
            let result = world.vm.run(0, &mut Guest::new([]));
            assert!(result.is_err(), "{result:?}");
            let result = world.vm.run(0, &mut Guest::new([]));
            assert_eq!(result, Err((EIO, Exit::None)));
            assert_eq!(world.populate(0..1), Err(ENXIO));
        })];
        scenario(&[0], nothing, parts);
    });
}

/// An exit that cannot be is the end of the realm, whatever else it may have asked for.
#[test]
fn an_exit_that_cannot_be() {
    explore(|| {
        let parts = vec![part(|world| {
            misreport();
            let mut guest = Guest::new(private(0..1));
            let result = world.vm.run(0, &mut guest);
            assert_eq!(result, Ok(Exit::InternalError(0)));
            let result = world.vm.run(0, &mut guest);
            assert_eq!(result, Err((EIO, Exit::None)));
        })];
        scenario(&[0], after(vec![]), parts);
    });
}

#[test]
fn one_turns_the_realm_off() {
    explore(|| {
        let parts = vec![
            part(|world| {
                let result = world.vm.run(0, &mut Guest::new([Op::SystemOff]));
                assert_eq!(result, Ok(Exit::SystemEvent));
                world.vm.stop();
            }),
            part(|world| {
                let result = world.vm.run(1, &mut Guest::new(private(0..4)));
                assert_eq!(result, Ok(Exit::None), "it waits");
            }),
        ];
        scenario(&[0, 1], start_second, parts);
    });
}

/// Turned off and on at once: it is never lost.
#[test]
fn off_and_on() {
    explore(|| {
        let parts = vec![
            part(|world| {
                // PSCI says ALREADY_ON until it is off.
                while world.run(0, [Op::TurnOn(1)]) != [true] {
                    shuttle::thread::yield_now();
                }
            }),
            part(|world| {
                let mut guest = Guest::new([Op::TurnOff, Op::Private(3)]);
                assert_eq!(world.go_on(1, &mut guest), Ok(Exit::None));
                assert!(guest.ops.is_empty(), "{guest:?}");
            }),
        ];
        scenario(&[0, 1], start_second, parts);
    });
}

/// The RMM is at work for another realm, for as long as it takes: this one only waits.
#[test]
fn another_realms_operation() {
    explore(|| {
        let parts = vec![
            tries(0, [private(0..6), shared(SHARED..SHARED + 4)].concat()),
            discards(SHARED..SHARED + 2),
            punches(4..6),
            part(|_| {
                block(1);
                for _ in 0..400 {
                    shuttle::thread::yield_now();
                }
                block(0);
            }),
        ];
        scenario(&[0], after(shared(SHARED..SHARED + 1)), parts);
    });
}

fn attr(id: u64, words: [u64; 8]) -> VmAttr {
    VmAttr {
        id,
        flags: 0,
        words: core::cell::Cell::new(words),
    }
}

fn choose(world: &World, id: u64, words: [u64; 8]) -> Result<(), Error> {
    world.vm.attr(AttrOp::Set, &attr(id, words))
}

fn chosen(world: &World, id: u64) -> [u64; 8] {
    let attr = attr(id, [u64::MAX; 8]);
    world.vm.attr(AttrOp::Get, &attr).unwrap();
    attr.words.get()
}

#[test]
fn a_realm_is_what_its_vmm_has_chosen() {
    const SHA_512: [u64; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
    let rpv = [1, 2, 3, 4, 5, 6, 7, u64::MAX];
    explore(move || {
        let first = move |world: &World| {
            assert_eq!(chosen(world, HASH), [0; 8]);
            assert_eq!(chosen(world, RPV), [0; 8]);
            assert_eq!(chosen(world, HASHES)[0] & 3, 3);
            for id in [HASH, RPV, HASHES] {
                assert_eq!(world.vm.attr(AttrOp::Has, &attr(id, [0; 8])), Ok(()));
            }
            for op in [AttrOp::Has, AttrOp::Get, AttrOp::Set] {
                assert_eq!(world.vm.attr(op, &attr(3, [0; 8])), Err(ENXIO));
                let flags = VmAttr {
                    flags: 1,
                    ..attr(RPV, [0; 8])
                };
                assert_eq!(world.vm.attr(op, &flags), Err(EINVAL));
            }
            assert_eq!(choose(world, HASHES, SHA_512), Err(ENXIO));
            assert_eq!(choose(world, HASH, [3; 8]), Err(EINVAL));
            assert_eq!(choose(world, HASH, SHA_512), Ok(()));
            assert_eq!(choose(world, RPV, rpv), Ok(()));
        };
        // One that comes too late is told so.
        let parts = vec![
            part(|world| world.populate(0..2).unwrap()),
            part(|world| {
                let late = choose(world, RPV, [9; 8]);
                assert!(matches!(late, Ok(()) | Err(EBUSY)), "{late:?}");
            }),
        ];
        let last = move |world: &World| {
            assert_eq!(choose(world, HASH, [0; 8]), Err(EBUSY));
            assert_eq!(choose(world, RPV, [0; 8]), Err(EBUSY));
            assert_eq!(chosen(world, HASH), SHA_512);
            assert!([rpv, [9; 8]].contains(&chosen(world, RPV)));
        };
        scenario_with(&[0], first, parts, last);
    });
}
