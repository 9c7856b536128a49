// SPDX-License-Identifier: GPL-2.0

//! The end of a realm, in every order that descriptors can be closed in.

use std::fs::File;

use kvm_ioctls::{DeviceFd, VcpuFd, VmFd};
use realm_guest::BASE;

use super::Cases;
use crate::realm::cpu::{init, PC};
use crate::realm::memory::Mapping;
use crate::realm::vm::{Shape, Vm};
use crate::realm::{debugfs, Result};

/// A realm's descriptors, and the memory that one of its slots names.
struct Parts {
    vm: Option<VmFd>,
    cpu: Option<VcpuFd>,
    gic: Option<DeviceFd>,
    memfd: Option<File>,
    _shared: Mapping,
}

/// How far a realm got.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Stage {
    /// It has slots.
    Made,
    /// It has been populated.
    Populated,
    /// It has run.
    Ran,
}

fn parts(stage: Stage) -> Result<Parts> {
    let mut vm = Vm::new(Shape::REALM)?;
    let mut cpu = vm.fd.create_vcpu(0)?;
    cpu.vcpu_init(&init(&vm, 0)?)?;
    let gic = vm.add_gic()?;
    if stage >= Stage::Populated {
        vm.load_guest()?;
    }
    if stage >= Stage::Ran {
        cpu.set_one_reg(PC, &BASE.to_le_bytes())?;
        // Until it asks for its first order.
        cpu.run()?;
    }
    let slot = vm.slots.remove(0);
    Ok(Parts {
        vm: Some(vm.fd),
        cpu: Some(cpu),
        gic: Some(gic),
        memfd: slot.memfd,
        _shared: slot.shared,
    })
}

pub(super) fn cases(cases: &mut Cases) -> Result<()> {
    /// Each closes one of the four.
    const CLOSE: [fn(&mut Parts); 4] = [
        |parts| parts.vm = None,
        |parts| parts.cpu = None,
        |parts| parts.gic = None,
        |parts| parts.memfd = None,
    ];
    let before = debugfs::delegated()?;
    for stage in [Stage::Made, Stage::Populated, Stage::Ran] {
        for order in orders() {
            let mut parts = parts(stage)?;
            for which in order {
                CLOSE[which](&mut parts);
            }
            let back = debugfs::expect_delegated(before);
            let what = format!("{stage:?}, closed in the order {order:?}");
            cases.holds(&what, back.is_ok());
        }
    }
    Ok(())
}

/// All orders of four things.
fn orders() -> Vec<[usize; 4]> {
    let mut all = Vec::new();
    for a in 0..4 {
        for b in 0..4 {
            for c in 0..4 {
                // What is left.
                let d = 6usize.wrapping_sub(a + b + c);
                let order = [a, b, c, d];
                if d < 4 && (0..4).all(|n| order.contains(&n)) {
                    all.push(order);
                }
            }
        }
    }
    all
}
