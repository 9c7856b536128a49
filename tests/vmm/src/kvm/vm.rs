// SPDX-License-Identifier: GPL-2.0

//! A VM: its memory, its interrupt controller, and its interrupt lines.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use kvm_arm_rmi::uapi::KVM_VM_TYPE_ARM_REALM;
use kvm_bindings::{
    kvm_create_device,
    kvm_create_guest_memfd,
    kvm_device_attr,
    kvm_device_type,
    kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS,
    kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
    kvm_memory_attributes,
    kvm_msi,
    kvm_userspace_memory_region,
    kvm_userspace_memory_region2,
    KVM_DEV_ARM_VGIC_CTRL_INIT,
    KVM_DEV_ARM_VGIC_GRP_ADDR,
    KVM_DEV_ARM_VGIC_GRP_CTRL,
    KVM_DEV_ARM_VGIC_GRP_NR_IRQS,
    KVM_MEMORY_ATTRIBUTE_PRIVATE,
    KVM_MEM_GUEST_MEMFD,
    KVM_MSI_VALID_DEVID,
    KVM_VGIC_ITS_ADDR_TYPE,
    KVM_VGIC_V3_ADDR_TYPE_DIST,
    KVM_VGIC_V3_ADDR_TYPE_REDIST, //
};
use kvm_ioctls::{DeviceFd, Kvm, VmFd};
use vmm_sys_util::eventfd::EventFd;

use crate::args::{Args, Mode};
use crate::error::{Error, Result, Trying};
use crate::layout::{self, GICD, GICR, ITS, RAM, SHARED_IRQS};
use crate::memory::Memory;
use crate::pci::msix::Message;

/// The number of the one memory slot.
const SLOT: u32 = 0;
/// Interrupts that belong to a CPU each come before the shared ones.
const OWN_IRQS: u32 = 32;

/// A VM with memory.
#[derive(Debug)]
pub struct Vm {
    /// For its ioctls. Devices on PCI have it as well.
    pub fd: Arc<VmFd>,
    /// What we see of its memory: everything, or what a realm shares.
    pub memory: Memory,
    /// A realm's private memory, from [`RAM`] on. An ordinary VM has none.
    pub private: Option<File>,
    /// How the kernel is told which memory is private.
    pub mode: Mode,
    /// Event counters of the CPUs' PMUs, if they have any.
    pub pmu: Option<u64>,
    /// Requests for private memory that are still to be refused.
    pub rejects: AtomicU64,
    /// One conversion at a time, so that attributes and memory agree.
    pub(super) converting: Mutex<()>,
}

impl Vm {
    /// Makes one with so many bytes of memory. All of a realm's is private, or may be.
    ///
    /// # Errors
    ///
    /// KVM does not want to; the error says what to do.
    pub fn new(kvm: &Kvm, args: &Args) -> Result<Self> {
        let (realm, memory) = (args.is_realm(), args.memory);
        let bits = layout::ipa_bits(memory);
        let kind = if realm { KVM_VM_TYPE_ARM_REALM } else { 0 };
        let fd = kvm.create_vm_with_type(kind | u64::from(bits));
        let fd = fd.trying(format!("KVM_CREATE_VM with {bits} address bits"));
        let fd = fd.map_err(|e| {
            e.advise(
                "as much memory as that may need more address bits than the host has: --memory",
            )
        })?;

        let memory = Memory::new(memory)?;
        let private = match realm {
            true => Some(guest_memfd(&fd, memory.size())?),
            false => None,
        };
        let vm = Self {
            fd: Arc::new(fd),
            memory,
            private,
            mode: args.mode,
            pmu: args.pmu,
            rejects: AtomicU64::new(args.reject),
            converting: Mutex::new(()),
        };
        vm.add_slot()?;
        if realm && vm.mode == Mode::V14 {
            vm.set_private(RAM, vm.memory.size(), true)?;
        }
        Ok(vm)
    }

    fn add_slot(&self) -> Result<()> {
        let (size, address) = (self.memory.size(), self.memory.address());
        // Both halves of a realm's memory are at the same addresses.
        let Some(private) = &self.private else {
            let region = kvm_userspace_memory_region {
                slot: SLOT,
                flags: 0,
                guest_phys_addr: RAM,
                memory_size: size,
                userspace_addr: address,
            };
            // SAFETY: The memory is mapped for as long as the VM has it: the CPUs, which keep the VM
            // alive, belong to threads that keep `self`. Our own accesses to it are volatile.
            let set = unsafe { self.fd.set_user_memory_region(region) };
            return set.trying("KVM_SET_USER_MEMORY_REGION");
        };
        let region = kvm_userspace_memory_region2 {
            slot: SLOT,
            flags: KVM_MEM_GUEST_MEMFD,
            guest_phys_addr: RAM,
            memory_size: size,
            userspace_addr: address,
            guest_memfd: private.as_raw_fd() as u32,
            ..Default::default()
        };
        // SAFETY: As above.
        let set = unsafe { self.fd.set_user_memory_region2(region) };
        set.trying("KVM_SET_USER_MEMORY_REGION2")
    }

    /// Says which half of a range is in use.
    ///
    /// # Errors
    ///
    /// Those of KVM_SET_MEMORY_ATTRIBUTES.
    pub fn set_private(&self, base: u64, size: u64, private: bool) -> Result<()> {
        let attributes = match private {
            true => u64::from(KVM_MEMORY_ATTRIBUTE_PRIVATE),
            false => 0,
        };
        let set = self.fd.set_memory_attributes(kvm_memory_attributes {
            address: base,
            size,
            attributes,
            flags: 0,
        });
        set.trying("KVM_SET_MEMORY_ATTRIBUTES")
    }

    /// Makes the interrupt controller, when all CPUs are there. It is gone when what this returns
    /// is dropped.
    ///
    /// # Errors
    ///
    /// KVM has no GICv3.
    pub fn add_gic(&self) -> Result<DeviceFd> {
        let gic = self.device(kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3, "GICv3");
        let gic = gic.map_err(|e| {
            e.advise("the host's interrupt controller has to be a GICv3 or newer itself")
        })?;
        // KVM is given where values are.
        let (distributor, redistributors, irqs) = (GICD, GICR, OWN_IRQS + SHARED_IRQS);
        for (group, kind, value) in [
            (
                KVM_DEV_ARM_VGIC_GRP_ADDR,
                KVM_VGIC_V3_ADDR_TYPE_DIST,
                (&raw const distributor).addr(),
            ),
            (
                KVM_DEV_ARM_VGIC_GRP_ADDR,
                KVM_VGIC_V3_ADDR_TYPE_REDIST,
                (&raw const redistributors).addr(),
            ),
            (KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, (&raw const irqs).addr()),
            (KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0),
        ] {
            set_attribute(&gic, "GICv3", group, kind, value)?;
        }
        Ok(gic)
    }

    /// Makes the interrupt controller's ITS, after that. It is gone when what this returns is dropped.
    ///
    /// # Errors
    ///
    /// KVM has none.
    pub fn add_its(&self) -> Result<DeviceFd> {
        let its = self.device(kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS, "ITS")?;
        let base = ITS;
        for (group, kind, value) in [
            (
                KVM_DEV_ARM_VGIC_GRP_ADDR,
                KVM_VGIC_ITS_ADDR_TYPE,
                (&raw const base).addr(),
            ),
            (KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0),
        ] {
            set_attribute(&its, "ITS", group, kind, value)?;
        }
        Ok(its)
    }

    fn device(&self, kind: kvm_device_type, name: &str) -> Result<DeviceFd> {
        let mut device = kvm_create_device {
            type_: kind,
            fd: 0,
            flags: 0,
        };
        let made = self.fd.create_device(&mut device);
        made.trying(format!("KVM_CREATE_DEVICE of a {name}"))
    }

    /// Sends messages of the device that the ITS knows by the number `device`.
    pub fn messages(&self, device: u32) -> impl FnMut(Message) + Send + 'static {
        let vm = self.fd.clone();
        move |message| {
            // One that the guest has not told the ITS of is lost, as it is on hardware.
            let _ = vm.signal_msi(kvm_msi {
                address_lo: message.address as u32,
                address_hi: (message.address >> 32) as u32,
                data: message.data,
                flags: KVM_MSI_VALID_DEVID,
                devid: device,
                ..Default::default()
            });
        }
    }

    /// An interrupt line: writing to it makes a pulse on the shared interrupt `irq`. The interrupt
    /// controller is there.
    ///
    /// # Errors
    ///
    /// There are too many files open, or no such interrupt.
    pub fn interrupt(&self, irq: u32) -> Result<EventFd> {
        let event = EventFd::new(libc::EFD_NONBLOCK).trying("eventfd")?;
        let register = self.fd.register_irqfd(&event, irq);
        register.trying(format!("KVM_IRQFD of interrupt {irq}"))?;
        Ok(event)
    }
}

/// Sets an attribute of a device, whose value is at the address `value`.
fn set_attribute(of: &DeviceFd, name: &str, group: u32, attr: u32, value: usize) -> Result<()> {
    let set = of.set_device_attr(&kvm_device_attr {
        group,
        attr: u64::from(attr),
        addr: value as u64,
        flags: 0,
    });
    set.trying(format!("KVM_SET_DEVICE_ATTR {group}/{attr} of the {name}"))
}

/// Memory that nobody but the guest can see.
fn guest_memfd(vm: &VmFd, size: u64) -> Result<File> {
    let arguments = kvm_create_guest_memfd {
        size,
        ..Default::default()
    };
    let fd = vm.create_guest_memfd(arguments);
    let fd = fd.trying("KVM_CREATE_GUEST_MEMFD");
    let fd = fd.map_err(|e: Error| e.advise("the kernel needs CONFIG_KVM_GUEST_MEMFD"))?;
    // SAFETY: The kernel has just made it for us.
    Ok(unsafe { File::from_raw_fd(fd) })
}
