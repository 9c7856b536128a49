// SPDX-License-Identifier: GPL-2.0

//! What is asked of a VM at once, in twos and threes.

mod ahead;
mod beside;
mod blocks;
mod by_file;
mod exact;
mod exits;
mod life;
mod over;
mod pmu;
mod populate;
mod private;
mod ripas;
mod shared;
mod shown;
mod stopped;
mod told;
mod undone;
mod widths;

pub(crate) use crate::explore;
use crate::world::mapped;
pub(crate) use crate::world::{
    hvas, part, scenario, scenario_by, scenario_of, scenario_on, scenario_with, By, Part, World,
    GRANULES, SHARED,
};
pub(crate) use kvm_arm_rmi::rmi::GRANULE_SIZE;
use kvm_arm_rmi::sys::gmem::Gmem;
pub(crate) use kvm_arm_rmi::sys::guest::{Guest, Op};
pub(crate) use kvm_arm_rmi::sys::ops::AttrOp;
pub(crate) use kvm_arm_rmi::sys::prelude::{
    Error, EAGAIN, EBUSY, EEXIST, EFAULT, EHWPOISON, EINTR, EINVAL, EIO, ENOENT, ENOMEM, ENXIO,
    EOPNOTSUPP,
};
pub(crate) use kvm_arm_rmi::sys::user::VmAttr;
pub(crate) use kvm_arm_rmi::sys::vcpu::Exit;
pub(crate) use shuttle::rand::RngCore as _;
pub(crate) use std::ops::Range;

/// Stores to private granules.
pub(crate) fn private(gfns: Range<u64>) -> Vec<Op> {
    gfns.map(Op::Private).collect()
}

/// Stores to shared granules.
pub(crate) fn shared(gfns: Range<u64>) -> Vec<Op> {
    gfns.map(Op::Shared).collect()
}

/// RSI_IPA_STATE_SET, which may lose what was destroyed or not.
pub(crate) fn ripas(gfns: Range<u64>, ram: bool, destroyed: bool) -> Op {
    let (first, end) = (gfns.start, gfns.end);
    Op::Ripas {
        first,
        end,
        ram,
        destroyed,
    }
}

pub(crate) fn nothing(_: &World) {}

/// vCPU `n` does that, and nothing goes wrong.
pub(crate) fn runs(n: usize, ops: Vec<Op>) -> Part {
    part(move |world| {
        let wanted = vec![true; ops.len()];
        assert_eq!(world.run(n, ops), wanted);
    })
}

/// vCPU `n` does that as far as it can: what it wants may have been taken from it, which it or its VMM is
/// told, and nothing else goes wrong.
pub(crate) fn tries(n: usize, ops: Vec<Op>) -> Part {
    part(move |world| match world.go_on(n, &mut Guest::new(ops)) {
        // The realm's end is told so, and no error.
        Ok(exit) => assert!(!matches!(exit, Exit::InternalError(_)), "{exit:?}"),
        Err((error, exit)) => {
            let lost = matches!(exit, Exit::MemoryFault { private: true, .. });
            assert!(lost && error == EHWPOISON, "{error:?}, {exit:?}");
        }
    })
}

/// The file gives up pages.
pub(crate) fn punches(pages: Range<u64>) -> Part {
    part(move |world| world.gmem.punch(pages))
}

/// The VMM gives up pages of the shared half.
pub(crate) fn discards(gfns: Range<u64>) -> Part {
    part(move |world| world.mm.discard(hvas(gfns)))
}

/// The VMM converts memory.
pub(crate) fn converts(gfns: Range<u64>, private: bool) -> Part {
    part(move |world| world.convert(gfns, private))
}

/// The first vCPU has run: the realm is active, and this was done.
pub(crate) fn after(ops: Vec<Op>) -> impl Fn(&World) + Clone {
    move |world| {
        let wanted = vec![true; ops.len()];
        assert_eq!(world.run(0, ops.clone()), wanted);
    }
}

/// vCPU 1 has been turned on, and both have run.
pub(crate) fn start_second(world: &World) {
    assert_eq!(world.run(0, [Op::TurnOn(1)]), [true]);
}

pub(crate) const FAR: u64 = 1 << 12;

pub(crate) const HVA_FAR: u64 = 0x8000_0000;

pub(crate) const PC: u64 = 0x6030_0000_0010_0040;

/// Does something with a VM that has one vCPU.
pub(crate) fn alone(test: impl Fn(&World) + Send + Sync + Clone + 'static) {
    crate::alone(move || {
        scenario(&[0], nothing, vec![part(test.clone())]);
    });
}

/// Which of these the realm has, in its private half or in the shared one.
pub(crate) fn there(gfns: Range<u64>, shared: bool) -> Vec<u64> {
    gfns.filter(|gfn| mapped(*gfn, shared).is_some()).collect()
}

/// A slot with a file, all of it private.
pub(crate) fn private_slot(world: &World, gfns: Range<u64>) {
    let file = Gmem::new();
    world
        .vm
        .add_slot(gfns.clone(), HVA_FAR, Some((&file, 0)))
        .unwrap();
    world.vm.set_private(gfns, true).unwrap();
}
