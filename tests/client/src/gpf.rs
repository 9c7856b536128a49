// SPDX-License-Identifier: GPL-2.0

//! A delegated page in the hands of the host: user accesses end in SIGBUS, kernel accesses in an
//! error, and once it has come back the page is memory like any other.

use crate::devmem::{Mapping, PAGE};
use std::error::Error;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

const HOLD: &str = "/sys/kernel/debug/kvm_arm_rmi/selftest/hold";

/// Delegates a page, touches it in every way, takes it back and touches it again.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    fs::write(HOLD, "0")?;
    let touched = touch_delegated();
    fs::write(HOLD, "-")?;
    let page = touched?;

    let status = in_child(|| {
        page.read_byte();
    })?;
    expect("user read after it came back", status.success(), &status)?;
    page.read_by_kernel()
        .map_err(|e| format!("kernel read after it came back: {e}"))?;
    println!("kernel read after it came back: ok");
    Ok(())
}

fn touch_delegated() -> Result<Mapping, Box<dyn Error>> {
    let held = fs::read_to_string(HOLD)?;
    let base = held
        .split("..")
        .next()
        .and_then(|base| base.strip_prefix("0x"));
    let pa = u64::from_str_radix(base.ok_or("nothing is held")?, 16)?;
    println!("delegated: {pa:#x}");
    let page = Mapping::new(pa)?;

    let status = in_child(|| {
        page.read_byte();
    })?;
    expect("user read", status.signal() == Some(libc::SIGBUS), &status)?;
    expect_efault("kernel read of its own mapping", page.read_by_kernel())?;

    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for two descriptors.
    if unsafe { libc::pipe(pipe.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: The buffer is mapped and PAGE bytes long; the kernel checks every access to it.
    let written = unsafe { libc::write(pipe[1], page.as_ptr(), PAGE) };
    expect_efault("copy from user", check(written))?;
    let zero = fs::File::open("/dev/zero")?;
    // SAFETY: As above.
    let read = unsafe { libc::read(zero.as_raw_fd(), page.as_ptr(), PAGE) };
    expect_efault("copy to user", check(read))?;
    strings(&page)?;
    futex(&page)?;
    Ok(page)
}

/// A name is read up to its end, by words that may run over it into the delegated page.
fn strings(page: &Mapping) -> Result<(), Box<dyn Error>> {
    let open = |name: &[u8]| {
        let name = page.put_before(name);
        // SAFETY: The kernel checks every access to the name.
        let fd = unsafe { libc::open(name, libc::O_RDONLY) };
        check(fd as isize)?;
        // SAFETY: It has just been opened.
        check(unsafe { libc::close(fd) } as isize)
    };
    for length in 1..=16 {
        let mut name = vec![b'/'; length];
        expect_efault("a name that goes on there", open(&name))?;
        name.push(0);
        open(&name).map_err(|e| format!("a name of {length} bytes that ends before: {e}"))?;
    }
    println!("names that end before: ok");
    Ok(())
}

/// One of this process's own: of those that processes share the kernel looks for the page first, and takes
/// none that is mapped by `/dev/mem`.
fn futex(page: &Mapping) -> Result<(), Box<dyn Error>> {
    // Should it be readable, and 0.
    let timeout = libc::timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let call = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: The kernel checks every access to the futex.
    let result = unsafe { libc::syscall(libc::SYS_futex, page.as_ptr(), call, 0, &timeout) };
    expect_efault("futex", check(result as isize))
}

/// Runs something in a child and returns how it ended.
fn in_child(what: impl FnOnce()) -> io::Result<ExitStatus> {
    // SAFETY: This program has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            what();
            // SAFETY: Ends the child at once.
            unsafe { libc::_exit(0) }
        }
        child => {
            let mut status = 0;
            // SAFETY: `child` was just made and nobody else waits for it.
            check(unsafe { libc::waitpid(child, &mut status, 0) } as isize)?;
            Ok(ExitStatus::from_raw(status))
        }
    }
}

fn check(result: isize) -> io::Result<()> {
    match result {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn expect(what: &str, is: bool, seen: &ExitStatus) -> Result<(), Box<dyn Error>> {
    println!("{what}: {seen}");
    if is {
        return Ok(());
    }
    Err(format!("{what}: {seen}").into())
}

fn expect_efault(what: &str, seen: io::Result<()>) -> Result<(), Box<dyn Error>> {
    println!("{what}: {seen:?}");
    match seen {
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        other => Err(format!("{what}: {other:?} instead of EFAULT").into()),
    }
}
