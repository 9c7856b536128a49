// SPDX-License-Identifier: GPL-2.0

//! Commands for what the RMM does not have.

mod common;

use common::Machine;
use kvm_arm_rmi::rmi::Fid;

const NOT_SUPPORTED: u64 = u64::MAX;

/// x0 of a command in both states of the RMM: PDEV_CREATE, VDEV_CREATE, VDEV_START,
/// PDEV_STREAM_CONNECT, PDEV_STREAM_KEY_PURGE, PSMMU_ACTIVATE, RTT_AUX_CREATE, RTT_SET_S2AP,
/// RTT_DEV_MAP, and some that nobody knows.
const ANSWERS: [(u32, u64, u64); 12] = [
    (0x176, 11, NOT_SUPPORTED),
    (0x187, 11, NOT_SUPPORTED),
    (0x1d3, 11, NOT_SUPPORTED),
    (0x204, 11, NOT_SUPPORTED),
    (0x207, 11, 5),
    (0x1d7, 11, 5),
    (0x17d, 11, 1),
    (0x18b, 11, 1),
    (0x1f7, 11, 1),
    (0x16a, NOT_SUPPORTED, NOT_SUPPORTED),
    (0x182, NOT_SUPPORTED, NOT_SUPPORTED),
    (0x2ce, NOT_SUPPORTED, NOT_SUPPORTED),
];

#[test]
fn devices_smmus_and_planes() {
    let (new, active) = (Machine::new(), Machine::active());
    for (number, before, after) in ANSWERS {
        let fid = Fid::from_raw(0xc400_0000 | number);
        for (machine, code) in [(&new, before), (&active, after)] {
            let regs = machine.call(fid, &[1, 2, 3, 4]);
            assert_eq!(regs.0[..5], [code, 0, 0, 0, 4], "{number:#x}");
        }
    }
}
