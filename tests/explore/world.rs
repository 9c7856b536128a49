// SPDX-License-Identifier: GPL-2.0

//! A VMM with one VM, whose parts a scenario sets upon each other.

use crate::firmware::Embedded;
use crate::injection;
use kvm_arm_rmi::kvm::AllVms;
use kvm_arm_rmi::realm::{host, status};
use kvm_arm_rmi::rec::RealmVm;
use kvm_arm_rmi::rmi::GRANULE_SIZE;
use kvm_arm_rmi::sys::gmem::Gmem;
use kvm_arm_rmi::sys::guest::{Guest, Op};
use kvm_arm_rmi::sys::machine;
use kvm_arm_rmi::sys::mm::Mm;
use kvm_arm_rmi::sys::prelude::*;
use kvm_arm_rmi::sys::vcpu::Exit;
use kvm_arm_rmi::sys::vm::Vm;
use kvm_arm_rmi::uapi::KvmArmRmiPopulate;
use shuttle::thread;
use std::ops::Range;
use std::sync::Arc as StdArc;

/// Where the shared half of slot 0 is in the VMM.
pub(crate) const HVA: u64 = 0x1000_0000;
/// Granules of slot 0, the lower half of which is private at first.
pub(crate) const GRANULES: u64 = 64;
/// The first that is shared at first.
pub(crate) const SHARED: u64 = 32;

/// How the VMM says which half of its IPA space memory is used in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// By memory attributes.
    Attributes,
    /// By what the file has, and what is mapped at the slot's address.
    File,
}

/// What a VMM has.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) by: By,
    pub(crate) vm: Vm<RealmVm>,
    pub(crate) mm: StdArc<Mm>,
    pub(crate) gmem: StdArc<Gmem>,
}

/// Something that happens beside others.
pub(crate) type Part = Box<dyn FnOnce(&World) + Send>;

/// A part.
pub(crate) fn part(f: impl FnOnce(&World) + Send + 'static) -> Part {
    Box::new(f)
}

/// Addresses in the VMM of the shared half of granules.
pub(crate) fn hvas(gfns: Range<u64>) -> Range<u64> {
    HVA + gfns.start * GRANULE_SIZE..HVA + gfns.end * GRANULE_SIZE
}

impl World {
    /// A VM with these vCPUs, and an IPA space of so many bits.
    ///
    /// # Errors
    ///
    /// Those of `KVM_CREATE_VM`.
    pub(crate) fn new(vcpus: &[u32], host: &Arc<AllVms>, ipa_bits: u32) -> Result<Self> {
        Self::by(By::Attributes, vcpus, host, ipa_bits)
    }

    /// The same, of a VMM of either kind.
    ///
    /// # Errors
    ///
    /// Those of `KVM_CREATE_VM`.
    pub(crate) fn by(by: By, vcpus: &[u32], host: &Arc<AllVms>, ipa_bits: u32) -> Result<Self> {
        let (mm, gmem) = (Mm::new(), Gmem::new());
        let vm = Vm::<RealmVm>::new(host, &mm, ipa_bits)?;
        for id in vcpus {
            vm.add_vcpu(*id);
        }
        vm.add_slot(0..GRANULES, HVA, Some((&gmem, 0)))?;
        if by == By::Attributes {
            vm.set_private(0..SHARED, true)?;
        }
        Ok(Self { by, vm, mm, gmem })
    }

    /// The process ends.
    pub(crate) fn end(self) {
        let Self { vm, mm, gmem, .. } = self;
        vm.destroy();
        drop((mm, gmem));
        machine::forget_process();
    }

    /// Runs a vCPU until its guest has done what it has to do, converts what it asks for. Returns what
    /// has come of each.
    pub(crate) fn run(&self, n: usize, ops: impl IntoIterator<Item = Op>) -> Vec<bool> {
        let mut guest = Guest::new(ops);
        self.go_on(n, &mut guest).unwrap();
        guest.results
    }

    /// The same for a guest that has begun.
    ///
    /// # Errors
    ///
    /// What else KVM_RUN says.
    pub(crate) fn go_on(&self, n: usize, guest: &mut Guest) -> Result<Exit, (Error, Exit)> {
        loop {
            match self.vm.run(n, guest) {
                Err((EFAULT, Exit::MemoryFault { gpa, size, private })) => {
                    let first = gpa / GRANULE_SIZE;
                    self.convert(first..first + size / GRANULE_SIZE, private);
                }
                Err((EAGAIN, _)) => {}
                other => return other,
            }
        }
    }

    /// The VMM converts memory of slot 0, or that it has attributes for.
    pub(crate) fn convert(&self, gfns: Range<u64>, private: bool) {
        match (self.by, private) {
            (By::Attributes, _) => self.vm.set_private(gfns, private).unwrap(),
            (By::File, true) => self.mm.discard(hvas(gfns)),
            (By::File, false) => self.gmem.punch(gfns),
        }
    }

    /// The realm is New from now on.
    ///
    /// # Errors
    ///
    /// Those of the ioctl.
    pub(crate) fn begin(&self) -> Result {
        self.vm.populate(&mut KvmArmRmiPopulate::default())
    }

    /// Populates granules from a page of the VMM's.
    ///
    /// # Errors
    ///
    /// Those of the ioctl.
    pub(crate) fn populate(&self, gfns: Range<u64>) -> Result {
        let mut args = KvmArmRmiPopulate {
            base: gfns.start * GRANULE_SIZE,
            size: (gfns.end - gfns.start) * GRANULE_SIZE,
            source_uaddr: HVA + 0x100_0000,
            flags: 0,
            reserved: 0,
        };
        while args.size != 0 {
            self.vm.populate(&mut args)?;
        }
        Ok(())
    }
}

/// Makes a VM with these vCPUs, has `first` done, then all `parts` at once; then the process ends. Nothing
/// may be left of it.
pub(crate) fn scenario(vcpus: &[u32], first: impl FnOnce(&World), parts: Vec<Part>) {
    scenario_with(vcpus, first, parts, |_| {});
}

/// The same, with `last` done before the process ends.
pub(crate) fn scenario_with(
    vcpus: &[u32],
    first: impl FnOnce(&World),
    parts: Vec<Part>,
    last: impl FnOnce(&World),
) {
    scenario_of(32, vcpus, first, parts, last);
}

/// The same for a VM with an IPA space of `ipa_bits`.
pub(crate) fn scenario_of(
    ipa_bits: u32,
    vcpus: &[u32],
    first: impl FnOnce(&World),
    parts: Vec<Part>,
    last: impl FnOnce(&World),
) {
    scenario_by(By::Attributes, ipa_bits, vcpus, first, parts, last);
}

/// The same for a VMM of either kind.
pub(crate) fn scenario_by(
    by: By,
    ipa_bits: u32,
    vcpus: &[u32],
    first: impl FnOnce(&World),
    parts: Vec<Part>,
    last: impl FnOnce(&World),
) {
    scenario_on(|_| {}, (by, ipa_bits, vcpus), first, parts, last);
}

/// The same with `set` done before there is a VM.
pub(crate) fn scenario_on(
    set: impl FnOnce(&machine::Machine),
    (by, ipa_bits, vcpus): (By, u32, &[u32]),
    first: impl FnOnce(&World),
    parts: Vec<Part>,
    last: impl FnOnce(&World),
) {
    machine::on(Embedded::new(), |machine| {
        injection::interrupt();
        set(machine);
        let in_use = machine.pages_in_use();
        {
            let all = start();
            let world = World::by(by, vcpus, &all, ipa_bits).unwrap();
            first(&world);
            let threads: Vec<_> = parts
                .into_iter()
                .map(|part| {
                    let world = world.clone();
                    thread::spawn(move || part(&world))
                })
                .collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            last(&world);
            world.assert_pages_are_the_files(0..GRANULES);
            world.end();
            let counts = all.host.rmi.conduit().counts();
            assert_eq!((counts.delegated(), counts.leaked()), (0, 0));
        }
        assert_eq!(machine.pages_in_use(), in_use, "memory is lost");
    });
}

/// The component is loaded.
pub(crate) fn start() -> Arc<AllVms> {
    let (host, _) = host::start().unwrap();
    let status = status::show(&host).unwrap();
    Arc::new(AllVms { host, status }, GFP_KERNEL).unwrap()
}

impl World {
    /// Nothing that the realm shares is mapped at these granules.
    pub(crate) fn assert_not_shared(&self, gfns: Range<u64>) {
        for gfn in gfns {
            let there = mapped(gfn, true);
            assert_eq!(there, None, "shared granule {gfn:#x} is mapped");
        }
    }

    /// Nothing is mapped at these granules, in either half.
    pub(crate) fn assert_nothing_mapped(&self, gfns: Range<u64>) {
        self.assert_not_shared(gfns.clone());
        for gfn in gfns {
            let there = mapped(gfn, false);
            assert_eq!(there, None, "private granule {gfn:#x} is mapped");
        }
    }

    /// The realm has memory at each of these private granules.
    pub(crate) fn assert_all_private(&self, gfns: Range<u64>) {
        for gfn in gfns {
            assert!(mapped(gfn, false).is_some(), "private granule {gfn:#x}");
        }
    }

    /// What the realm has of private memory is what the file has, of which these granules are the pages
    /// with the same numbers.
    pub(crate) fn assert_pages_are_the_files(&self, gfns: Range<u64>) {
        for gfn in gfns {
            if let Some(pa) = mapped(gfn, false) {
                assert_eq!(self.gmem.page(gfn), Some(pa), "granule {gfn:#x}");
                // Nobody is at work on it: a huge page that it is part of can be split.
                assert_eq!(machine::machine().references(pa), 1, "granule {gfn:#x}");
            }
        }
    }
}

/// The page that the realm has there.
pub(crate) fn mapped(gfn: u64, shared: bool) -> Option<u64> {
    let machine = machine::machine();
    machine.firmware().mapped(gfn * GRANULE_SIZE, shared)
}
