// SPDX-License-Identifier: GPL-2.0

//! What a VM's memory has in it when it starts.

use std::os::fd::AsRawFd;
use std::{fs, io};

use kvm_arm_rmi::uapi::{
    KvmArmRmiPopulate,
    KVM_ARM_RMI_POPULATE,
    KVM_ARM_RMI_POPULATE_FLAGS_MEASURE, //
};
use realm_guest::{BASE, IMAGE_SIZE};

use super::Vm;
use crate::realm::memory::{check, Mapping};
use crate::realm::{ensure, Result};

impl Vm {
    /// KVM_ARM_RMI_POPULATE, once. What is left to do is in `arguments`.
    pub(crate) fn populate_once(&self, arguments: &mut KvmArmRmiPopulate) -> io::Result<()> {
        let request = KVM_ARM_RMI_POPULATE.into();
        let arguments: *mut KvmArmRmiPopulate = arguments;
        // SAFETY: The ioctl reads and writes one such structure, and reads the memory that it
        // names, which the kernel checks.
        check(unsafe { libc::ioctl(self.fd.as_raw_fd(), request, arguments) })
    }

    /// Puts memory into a realm at `base`: all that is in `source`.
    pub(crate) fn populate(&self, base: u64, source: &Mapping, measure: bool) -> Result<()> {
        let mut left = KvmArmRmiPopulate {
            base,
            size: source.size(),
            source_uaddr: source.address(),
            flags: match measure {
                true => KVM_ARM_RMI_POPULATE_FLAGS_MEASURE,
                false => 0,
            },
            reserved: 0,
        };
        while left.size != 0 {
            let before = left.size;
            match self.populate_once(&mut left) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("populate at {:#x}: {error}", left.base).into()),
                Ok(()) => ensure!(left.size < before, "populate makes no progress: {left:x?}"),
            }
        }
        Ok(())
    }

    /// Puts the guest into the VM.
    pub(crate) fn load_guest(&self) -> Result<()> {
        let image = guest_image()?;
        if self.shape.realm {
            let source = Mapping::with_contents(&image, IMAGE_SIZE)?;
            return self.populate(BASE, &source, true);
        }
        let slot = self.slots.first().ok_or("no memory")?;
        for (offset, word) in (0..).step_by(8).zip(image.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            slot.shared.write(offset, u64::from_le_bytes(bytes));
        }
        Ok(())
    }
}

/// The guest, which is in a file beside this program.
pub(crate) fn guest_image() -> Result<Vec<u8>> {
    let path = std::env::current_exe()?.with_file_name("realm-guest");
    Ok(fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?)
}
