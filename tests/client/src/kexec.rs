// SPDX-License-Identifier: GPL-2.0

//! `kexec`: has the kernel take another one in, let go of it, or become it.

use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// KEXEC_FILE_UNLOAD, KEXEC_FILE_ON_CRASH and KEXEC_FILE_NO_INITRAMFS of `linux/kexec.h`.
const UNLOAD: libc::c_ulong = 1;
const ON_CRASH: libc::c_ulong = 2;
const NO_INITRAMFS: libc::c_ulong = 4;

/// `kexec load IMAGE`, `kexec next IMAGE INITRD PARAMETERS`, `kexec exec` (to which there is no return if
/// all goes well), `kexec crash IMAGE INITRD PARAMETERS` (what runs when the kernel panics) or
/// `kexec unload`. The error of the system call is the result.
pub(crate) fn run(args: &[&str]) -> Result<(), Box<dyn Error>> {
    match args {
        ["load", image] => load(File::open(image)?, None, "", 0)?,
        ["next", image, initrd, parameters] => {
            let initrd = Some(File::open(initrd)?);
            load(File::open(image)?, initrd, parameters, 0)?;
        }
        // SAFETY: Nothing of this process is needed afterwards.
        ["exec"] => match unsafe { libc::reboot(libc::RB_KEXEC) } {
            0 => {}
            _ => return Err(io::Error::last_os_error().into()),
        },
        ["crash", image, initrd, parameters] => {
            let initrd = Some(File::open(initrd)?);
            load(File::open(image)?, initrd, parameters, ON_CRASH)?;
        }
        ["unload"] => call(-1, -1, "", UNLOAD | NO_INITRAMFS)?,
        _ => return Err("kexec load IMAGE | next IMAGE INITRD PARAMETERS | exec | crash IMAGE INITRD PARAMETERS | unload".into()),
    }
    Ok(())
}

fn load(
    image: File,
    initrd: Option<File>,
    parameters: &str,
    flags: libc::c_ulong,
) -> io::Result<()> {
    match initrd {
        Some(initrd) => call(image.as_raw_fd(), initrd.as_raw_fd(), parameters, flags),
        None => call(image.as_raw_fd(), -1, parameters, flags | NO_INITRAMFS),
    }
}

/// kexec_file_load(2).
fn call(image: i32, initrd: i32, parameters: &str, flags: libc::c_ulong) -> io::Result<()> {
    let parameters = CString::new(parameters)?;
    let size = parameters.as_bytes_with_nul().len();
    // SAFETY: The kernel reads `size` bytes of a string that ends there, and two files.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            image,
            initrd,
            size,
            parameters.to_bytes_with_nul().as_ptr(),
            flags,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
