// SPDX-License-Identifier: GPL-2.0

//! Faults in different places do not wait for each other, whatever the RMM is asked meanwhile.

use super::*;
use crate::injection::{end, replace_some};
use kvm_arm_rmi::rmi::Fid;
use kvm_arm_rmi::sys::machine::Machine;
use shuttle::sync::mpsc::channel;

/// Granules of a block.
const BLOCK: u64 = 512;
/// Where one vCPU faults, and another one meanwhile: in blocks with nothing in common but the table above
/// them, which is there.
const PLACES: [u64; 2] = [FAR + BLOCK, FAR + 4 * BLOCK];

/// The RMM takes its time for a call that the one fault makes, number `call` of those of `fid`: until the
/// other fault has begun and ended. A lock that both take and one of them holds meanwhile would have each
/// wait for the other.
fn beside(around: u32, (fid, call): (Fid, u64)) {
    explore(move || {
        let set = move |machine: &Machine| machine.set_fault_around(around, false);
        let first = |world: &World| {
            private_slot(world, FAR..FAR + 5 * BLOCK);
            start_second(world);
            assert_eq!(world.run(0, private(FAR..FAR + 1)), [true]);
        };
        let (begin, begun) = channel();
        let (finish, finished) = channel();
        let slow = part(move |world| {
            replace_some(fid, (call, 1), move |args, rmm| {
                let result = rmm(args);
                begin.send(()).unwrap();
                finished.recv().unwrap();
                result
            });
            assert_eq!(world.run(0, private(PLACES[0]..PLACES[0] + 1)), [true]);
            end();
        });
        let meanwhile = part(move |world| {
            begun.recv().expect("there is no such call");
            assert_eq!(world.run(1, private(PLACES[1]..PLACES[1] + 1)), [true]);
            finish.send(()).unwrap();
        });
        let last = |world: &World| {
            PLACES
                .iter()
                .for_each(|place| world.assert_all_private(*place..place + 1));
        };
        scenario_on(
            set,
            (By::Attributes, 32, &[0, 1]),
            first,
            vec![slow, meanwhile],
            last,
        );
    });
}

/// By pages: these are delegated, then a table, which is made, and all is mapped.
#[test]
fn faults_of_pages_beside_each_other() {
    for call in [
        (Fid::GRANULE_RANGE_DELEGATE, 0),
        (Fid::GRANULE_RANGE_DELEGATE, 1),
        (Fid::RTT_CREATE, 0),
        (Fid::RTT_DATA_MAP, 0),
    ] {
        beside(4 * GRANULE_SIZE as u32, call);
    }
}

/// By blocks: a table to set aside is delegated, then the pages, which are mapped.
#[test]
fn faults_of_blocks_beside_each_other() {
    for call in [
        (Fid::GRANULE_RANGE_DELEGATE, 0),
        (Fid::GRANULE_RANGE_DELEGATE, 1),
        (Fid::RTT_DATA_MAP, 0),
    ] {
        beside(2 << 20, call);
    }
}
