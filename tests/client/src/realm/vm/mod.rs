// SPDX-License-Identifier: GPL-2.0

//! A VM: its memory, its interrupt controller, and what of its memory is private.

mod contents;

pub(crate) use contents::guest_image;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use kvm_arm_rmi::uapi::KVM_VM_TYPE_ARM_REALM;
use kvm_bindings::{
    kvm_create_device,
    kvm_create_guest_memfd,
    kvm_device_attr,
    kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
    kvm_memory_attributes,
    kvm_userspace_memory_region2,
    KVM_DEV_ARM_VGIC_CTRL_INIT,
    KVM_DEV_ARM_VGIC_GRP_ADDR,
    KVM_DEV_ARM_VGIC_GRP_CTRL,
    KVM_MEMORY_ATTRIBUTE_PRIVATE,
    KVM_MEM_GUEST_MEMFD,
    KVM_VGIC_V3_ADDR_TYPE_DIST,
    KVM_VGIC_V3_ADDR_TYPE_REDIST, //
};
use kvm_ioctls::{DeviceFd, Kvm, VmFd};
use realm_guest::{BASE, GICD, GICR, PAGE_SIZE};

use super::memory::{punch_hole, Huge, Mapping};
use super::{ensure, Result};

/// What a VM is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    /// A realm, or an ordinary VM with the same guest.
    pub(crate) realm: bool,
    /// IPA width, or 0 for KVM's own default.
    pub(crate) ipa_bits: u64,
    /// CPUs.
    pub(crate) cpus: u64,
    /// Bytes of memory, from [`BASE`] on.
    pub(crate) memory: u64,
    /// Huge pages for the shared half.
    pub(crate) huge: Huge,
    /// Each CPU's thread stays on the host's CPU with the same number.
    pub(crate) pinned: bool,
}

impl Shape {
    /// A realm that is good for most tests.
    pub(crate) const REALM: Self = Self {
        realm: true,
        ipa_bits: 0,
        cpus: 1,
        memory: 32 << 20,
        huge: Huge::Never,
        pinned: false,
    };

    /// The argument of KVM_CREATE_VM for it.
    pub(crate) fn vm_type(self) -> u64 {
        if self.realm {
            KVM_VM_TYPE_ARM_REALM | self.ipa_bits
        } else {
            self.ipa_bits
        }
    }
}

/// How this process says which half of its IPA space a realm's memory is used in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// By memory attributes.
    V14,
    /// By what guest_memfd has, and what is mapped at the slot's address: there are no attributes.
    V15,
}

/// All VMs of this process are of one mode.
static MODE: OnceLock<Mode> = OnceLock::new();

impl Mode {
    /// The one with that name; this process has it from now on.
    pub(crate) fn set(name: &str) -> Result<()> {
        let mode = match name {
            "v14" => Self::V14,
            "v15" => Self::V15,
            _ => return Err(format!("there are modes v14 and v15, not {name}").into()),
        };
        MODE.set(mode).map_err(|_| "one mode is enough".into())
    }

    /// That of this process.
    pub(crate) fn get() -> Self {
        *MODE.get_or_init(|| Self::V14)
    }
}

/// A memory slot.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Number and first IPA.
    pub(crate) number: u32,
    pub(crate) base: u64,
    /// The memory that the guest shares with us.
    pub(crate) shared: Mapping,
    /// The memory that it has to itself, and from what offset on.
    pub(crate) memfd: Option<File>,
    pub(crate) offset: u64,
}

impl Slot {
    /// First IPA after it.
    pub(crate) fn top(&self) -> u64 {
        self.base + self.shared.size()
    }
}

/// A VM.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) fd: VmFd,
    pub(crate) shape: Shape,
    pub(crate) slots: Vec<Slot>,
    /// Conversions so far: to shared, to private.
    pub(crate) conversions: [AtomicU64; 2],
    /// CPUs that are interrupted give up.
    pub(crate) stop: AtomicBool,
    /// A conversion leaves the memory of the other half alone: it costs what the kernel makes it
    /// cost.
    pub(crate) keeps_both: bool,
    converting: Mutex<()>,
}

impl Vm {
    /// Makes a VM with nothing in it.
    pub(crate) fn empty(shape: Shape) -> io::Result<Self> {
        Ok(Self {
            fd: Kvm::new()?.create_vm_with_type(shape.vm_type())?,
            shape,
            slots: Vec::new(),
            conversions: [AtomicU64::new(0), AtomicU64::new(0)],
            stop: AtomicBool::new(false),
            keeps_both: false,
            converting: Mutex::new(()),
        })
    }

    /// Makes a VM with memory. All of a realm's is private, or may be.
    pub(crate) fn new(shape: Shape) -> Result<Self> {
        let mut vm = Self::empty(shape)?;
        vm.add_memory(BASE, shape.memory)?;
        if shape.realm && Mode::get() == Mode::V14 {
            vm.set_private(BASE, shape.memory, true)?;
        }
        Ok(vm)
    }

    /// Adds a slot: with private memory, if it is for a realm.
    pub(crate) fn add_memory(&mut self, base: u64, size: u64) -> Result<()> {
        let shared = Mapping::new(size, self.shape.huge)?;
        let memfd = match self.shape.realm {
            true => Some(self.guest_memfd(size)?),
            false => None,
        };
        self.add_slot(base, shared, memfd)
    }

    /// Adds a slot with this memory.
    pub(crate) fn add_slot(
        &mut self,
        base: u64,
        shared: Mapping,
        memfd: Option<File>,
    ) -> Result<()> {
        self.add_part(base, shared, memfd, 0)
    }

    /// The same, where private memory is from that offset of its file on.
    pub(crate) fn add_part(
        &mut self,
        base: u64,
        shared: Mapping,
        memfd: Option<File>,
        offset: u64,
    ) -> Result<()> {
        let slot = Slot {
            number: self.slots.len().try_into()?,
            base,
            shared,
            memfd,
            offset,
        };
        self.set_slot(&self.region(&slot))?;
        self.slots.push(slot);
        Ok(())
    }

    /// Memory for a slot that nobody but the guest can see.
    pub(crate) fn guest_memfd(&self, size: u64) -> io::Result<File> {
        let arguments = kvm_create_guest_memfd {
            size,
            ..Default::default()
        };
        let fd = self.fd.create_guest_memfd(arguments)?;
        // SAFETY: The kernel has just made it for us.
        Ok(unsafe { File::from_raw_fd(fd) })
    }

    /// What the kernel is told of a slot.
    pub(crate) fn region(&self, slot: &Slot) -> kvm_userspace_memory_region2 {
        let mut region = kvm_userspace_memory_region2 {
            slot: slot.number,
            guest_phys_addr: slot.base,
            memory_size: slot.shared.size(),
            userspace_addr: slot.shared.address(),
            ..Default::default()
        };
        if let Some(memfd) = &slot.memfd {
            region.flags |= KVM_MEM_GUEST_MEMFD;
            region.guest_memfd = memfd.as_raw_fd() as u32;
            region.guest_memfd_offset = slot.offset;
        }
        region
    }

    /// KVM_SET_USER_MEMORY_REGION2.
    pub(crate) fn set_slot(&self, region: &kvm_userspace_memory_region2) -> io::Result<()> {
        // SAFETY: What is mapped is kept in `slots`, and unmapped when no CPU runs any more; or the
        // test is about what happens if it is not. This process reads and writes such memory
        // as atomic words.
        unsafe { self.fd.set_user_memory_region2(*region)? };
        Ok(())
    }

    /// Makes a GICv3, when all CPUs are there.
    pub(crate) fn add_gic(&self) -> io::Result<DeviceFd> {
        let gic = self.create_gic()?;
        self.init_gic(&gic)?;
        Ok(gic)
    }

    /// Initialises a GICv3.
    pub(crate) fn init_gic(&self, gic: &DeviceFd) -> io::Result<()> {
        for (kind, address) in [
            (KVM_VGIC_V3_ADDR_TYPE_DIST, GICD),
            (KVM_VGIC_V3_ADDR_TYPE_REDIST, GICR),
        ] {
            gic.set_device_attr(&kvm_device_attr {
                group: KVM_DEV_ARM_VGIC_GRP_ADDR,
                attr: kind.into(),
                addr: (&raw const address).addr() as u64,
                flags: 0,
            })?;
        }
        gic.set_device_attr(&kvm_device_attr {
            group: KVM_DEV_ARM_VGIC_GRP_CTRL,
            attr: KVM_DEV_ARM_VGIC_CTRL_INIT.into(),
            addr: 0,
            flags: 0,
        })?;
        Ok(())
    }

    /// Makes a GICv3 that is not initialised.
    pub(crate) fn create_gic(&self) -> io::Result<DeviceFd> {
        let mut device = kvm_create_device {
            type_: kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
            fd: 0,
            flags: 0,
        };
        Ok(self.fd.create_device(&mut device)?)
    }

    /// KVM_SET_MEMORY_ATTRIBUTES.
    pub(crate) fn set_private(&self, base: u64, size: u64, private: bool) -> io::Result<()> {
        let attributes = match private {
            true => KVM_MEMORY_ATTRIBUTE_PRIVATE,
            false => 0,
        };
        Ok(self.fd.set_memory_attributes(kvm_memory_attributes {
            address: base,
            size,
            attributes: attributes.into(),
            flags: 0,
        })?)
    }

    /// The slots that a range touches, with the part of the range that is in each.
    fn parts(&self, range: Range<u64>) -> impl Iterator<Item = (&Slot, Range<u64>)> {
        self.slots.iter().filter_map(move |slot| {
            let part = range.start.max(slot.base)..range.end.min(slot.top());
            (!part.is_empty()).then_some((slot, part))
        })
    }

    /// Does what a VMM has to do about KVM_EXIT_MEMORY_FAULT: gives the range to the guest alone, or
    /// shares it.
    pub(crate) fn convert(&self, base: u64, size: u64, private: bool) -> Result<()> {
        let _one = self.converting.lock().map_err(|_| "another CPU failed")?;
        let range = base..base.checked_add(size).ok_or("a range that wraps")?;
        let in_slots: u64 = self
            .parts(range.clone())
            .map(|(_, part)| part.end - part.start)
            .sum();
        // A page is an access, more is what the guest only says that it wants.
        ensure!(
            in_slots != 0 || size > PAGE_SIZE,
            "no memory at {base:#x}, {size:#x} bytes"
        );
        if Mode::get() == Mode::V14 {
            self.set_private(base, size, private)?;
        }
        self.conversions[usize::from(private)].fetch_add(1, Ordering::Relaxed);
        if self.keeps_both {
            return Ok(());
        }
        for (slot, part) in self.parts(range) {
            let (offset, size) = (part.start - slot.base, part.end - part.start);
            match (&slot.memfd, private) {
                (_, true) => slot.shared.discard(offset, size)?,
                (Some(memfd), false) => punch_hole(memfd, slot.offset + offset, size)?,
                (None, false) => {}
            }
        }
        Ok(())
    }

    /// The word of shared memory at an IPA.
    pub(crate) fn read_shared(&self, ipa: u64) -> Result<u64> {
        let (slot, _) = self.parts(ipa..ipa + 8).next().ok_or("no memory")?;
        Ok(slot.shared.read(ipa - slot.base))
    }

    /// Changes the word of shared memory at an IPA.
    pub(crate) fn write_shared(&self, ipa: u64, value: u64) -> Result<()> {
        let (slot, _) = self.parts(ipa..ipa + 8).next().ok_or("no memory")?;
        slot.shared.write(ipa - slot.base, value);
        Ok(())
    }

    /// Conversions so far: to shared, to private.
    pub(crate) fn conversions(&self) -> [u64; 2] {
        self.conversions
            .each_ref()
            .map(|n| n.load(Ordering::Relaxed))
    }
}
