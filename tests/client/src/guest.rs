// SPDX-License-Identifier: GPL-2.0

//! KVM as VMMs use it: a capability, and an ordinary guest that still runs.

use kvm_bindings::{
    kvm_userspace_memory_region,
    kvm_vcpu_init,
    KVM_ARM_VCPU_PSCI_0_2,
    KVM_SYSTEM_EVENT_SHUTDOWN, //
};
use kvm_ioctls::{Kvm, VcpuExit};
use std::error::Error;
use std::ptr;

/// Prints what `KVM_CHECK_EXTENSION` says of a number.
pub(crate) fn capability(number: &str) -> Result<(), Box<dyn Error>> {
    let kvm = Kvm::new()?;
    println!("{}", kvm.check_extension_raw(number.parse()?));
    Ok(())
}

/// Makes a VM of a type.
pub(crate) fn make(kind: &str) -> Result<(), Box<dyn Error>> {
    Kvm::new()?.create_vm_with_type(kind.parse()?)?;
    Ok(())
}

/// Where the guest has memory, and where it has none but expects a device.
const MEMORY: u64 = 0x8000_0000;
const DEVICE: u64 = 0x1000_0000;
const SIZE: usize = 0x20_0000;

// Doubles what it reads from the device, stores it in memory and writes it back to the device, and
// turns the machine off: PSCI SYSTEM_OFF is function 0x84000008.
core::arch::global_asm!(
    ".global guest_start, guest_end",
    "guest_start:",
    "    mov x1, #{device}",
    "    ldr w2, [x1]",
    "    add w2, w2, w2",
    "    adr x3, guest_start",
    "    str w2, [x3, #2048]",
    "    ldr w4, [x3, #2048]",
    "    str w4, [x1, #4]",
    "    movz w0, #0x8400, lsl #16",
    "    movk w0, #0x0008",
    "    hvc #0",
    "    b .",
    "guest_end:",
    device = const DEVICE,
);

extern "C" {
    static guest_start: u8;
    static guest_end: u8;
}

/// Runs an ordinary guest through an MMIO read, an MMIO write and its end.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let kvm = Kvm::new()?;
    let vm = kvm.create_vm()?;
    // SAFETY: A new private mapping at an address that the kernel chooses.
    let memory = unsafe {
        libc::mmap(
            ptr::null_mut(),
            SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: The code is between the two symbols, and the mapping is larger and nobody else's.
    unsafe {
        let start = ptr::addr_of!(guest_start);
        let length = ptr::addr_of!(guest_end).offset_from(start).try_into()?;
        ptr::copy_nonoverlapping(start, memory.cast(), length);
    }
    let slot = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: MEMORY,
        memory_size: SIZE as u64,
        userspace_addr: memory as u64,
    };
    // SAFETY: The mapping stays until the process ends, and so does the VM.
    unsafe { vm.set_user_memory_region(slot)? };

    let mut vcpu = vm.create_vcpu(0)?;
    let mut init = kvm_vcpu_init::default();
    vm.get_preferred_target(&mut init)?;
    init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
    vcpu.vcpu_init(&init)?;
    // KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | the program counter.
    const PC: u64 = 0x6030_0000_0010_0000 | (0x100 / 4);
    vcpu.set_one_reg(PC, &MEMORY.to_le_bytes())?;

    match vcpu.run()? {
        VcpuExit::MmioRead(DEVICE, data) => data.copy_from_slice(&21u32.to_le_bytes()),
        other => return Err(format!("instead of the read: {other:?}").into()),
    }
    match vcpu.run()? {
        VcpuExit::MmioWrite(address, data)
            if address == DEVICE + 4 && data == 42u32.to_le_bytes() => {}
        other => return Err(format!("instead of the write: {other:?}").into()),
    }
    match vcpu.run()? {
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => {}
        other => return Err(format!("instead of the end: {other:?}").into()),
    }
    println!("an ordinary guest ran to its end");
    Ok(())
}
