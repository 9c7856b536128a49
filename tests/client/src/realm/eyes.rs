// SPDX-License-Identifier: GPL-2.0

//! What a host has to look into memory that is not its own: a core dump of the VMM, `/proc/kcore`,
//! `/dev/mem`, `process_vm_readv()`, `ptrace()`, and all that takes a file. None of them finds what a realm
//! has written to its private memory, each of them finds what it has shared, and the host survives.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::ptr;

use realm_guest::{pattern, Op, Order, BASE};

use super::brief::on_cpu;
use super::run::chunk;
use super::run::memory::set_ripas;
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, Result};
use crate::devmem::PAGE;
use crate::elf_core;

/// Bytes that the realm writes, of private memory and of shared.
const SIZE: u64 = 0x20_0000;
/// Bytes that are read at once.
const PIECE: usize = 0x10_0000;
/// Where the VMM runs, and so where its core dump goes.
const HERE: &str = "/tmp";
const CORE: &str = "/tmp/core";
/// What says how core dumps are called, where that can be said at all.
const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// What was found in memory: words that only the realm writes, in its private half, and in the other.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Found {
    private: u64,
    shared: u64,
    /// Bytes that were looked at.
    pub(crate) bytes: u64,
}

impl Found {
    /// Looks at the first and the last word of each page, where the patterns are. They are recognised by
    /// what they were made from, so that this process does not have them itself.
    fn look(&mut self, memory: &[u8]) {
        for page in memory.chunks_exact(PAGE) {
            for (at, place) in [(0, 0), (PAGE - 8, PAGE as u64 - 8)] {
                let Some(word) = page[at..].first_chunk() else {
                    continue;
                };
                let word = u64::from_ne_bytes(*word);
                let is = |ipa: u64| {
                    ipa % PAGE as u64 == place && (BASE..BASE + (1 << 30)).contains(&ipa)
                };
                self.private += u64::from(is(origin(word)));
                self.shared += u64::from(is(origin(!word)));
            }
        }
        self.bytes += memory.len() as u64;
    }

    /// All of what is shared was seen, and nothing of what is private.
    pub(crate) fn check(self, eye: &str) -> Result<()> {
        let all = 2 * SIZE / PAGE as u64;
        println!("{eye}: {self:?}");
        ensure!(self.private == 0, "{eye}: {} private words", self.private);
        ensure!(
            self.shared >= all,
            "{eye}: {} of {all} shared words, so it is no proof",
            self.shared
        );
        Ok(())
    }
}

/// The IPA that a word of the private pattern was made from.
fn origin(word: u64) -> u64 {
    const FACTOR: u64 = pattern(1, false) ^ pattern(0, false);
    // Newton: each step doubles the bits that are right, and an odd number has three of its inverse.
    let inverse = (0..5).fold(FACTOR, |x, _| {
        x.wrapping_mul(2u64.wrapping_sub(FACTOR.wrapping_mul(x)))
    });
    (word ^ pattern(0, false)).wrapping_mul(inverse)
}

/// `realm hold seen`: a VMM whose realm has written both patterns, until standard input ends.
pub(super) fn hold_seen() -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    on_cpu(&vm, |cpu| {
        let (private, shared) = (chunk(0), chunk(0) + SIZE);
        cpu.expect(Order::pages(Op::Touch, private, SIZE), &[], 0)?;
        set_ripas(cpu, Op::SetEmpty, shared, SIZE)?;
        cpu.expect(Order::pages(Op::Touch, shared, SIZE).shared(), &[], 0)?;
        let slot = &vm.slots[0];
        let memfd = slot.memfd.as_ref().ok_or("no private memory")?;
        println!(
            "held {:#x} {:#x} {}",
            slot.shared.address() + (shared - slot.base),
            slot.shared.address() + (private - slot.base),
            memfd.as_raw_fd()
        );
        std::io::stdin().read_to_end(&mut Vec::new())?;
        cpu.expect(Order::pages(Op::Check, private, SIZE), &[], 0)?;
        cpu.expect(Order::pages(Op::Check, shared, SIZE).shared(), &[], 0)
    })
}

/// The VMM that is looked at.
struct Victim {
    child: Child,
    /// Where its process has what the realm shares, and what would be private if it were shared.
    shared: u64,
    private: u64,
    memfd: i32,
}

impl Victim {
    fn new() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["realm", "hold", "seen"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["held", shared, private, memfd] = words[..] else {
            return Err(format!("the VMM says {line:?}, {}", child.wait()?).into());
        };
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16);
        Ok(Self {
            shared: number(shared)?,
            private: number(private)?,
            memfd: memfd.parse()?,
            child,
        })
    }

    fn pid(&self) -> libc::pid_t {
        self.child.id() as libc::pid_t
    }

    /// It has all that it had.
    fn ends(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(
            status.success(),
            "the realm has not what it wrote: {status}"
        );
        Ok(())
    }
}

/// `realm eyes`: all of them.
pub(super) fn main() -> Result<()> {
    // The VMM is begun there, and told so in no other way: that would take a socket, and this kernel may have
    // no networks.
    std::env::set_current_dir(HERE)?;
    let before = debugfs::delegated()?;
    let victim = Victim::new()?;
    process_vm(&victim)?;
    traced(&victim)?;
    proc_mem(&victim)?;
    file(&victim)?;
    kcore()?;
    dev_mem()?;
    victim.ends()?;
    debugfs::expect_delegated(before)?;

    core_dump(Victim::new()?)?;
    debugfs::expect_delegated(before)
}

/// Reads all that the victim has of both halves.
fn both_halves(
    victim: &Victim,
    eye: &str,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let mut found = Found::default();
    let mut memory = vec![0; SIZE as usize];
    for at in [victim.shared, victim.private] {
        read(at, &mut memory)?;
        found.look(&memory);
    }
    found.check(eye)
}

fn process_vm(victim: &Victim) -> Result<()> {
    both_halves(victim, "process_vm_readv", |at, memory| {
        let local = libc::iovec {
            iov_base: memory.as_mut_ptr().cast(),
            iov_len: memory.len(),
        };
        let remote = libc::iovec {
            iov_base: ptr::without_provenance_mut(at as usize),
            iov_len: memory.len(),
        };
        // SAFETY: The local vector is the buffer; the remote one is checked by the kernel.
        let read = unsafe { libc::process_vm_readv(victim.pid(), &local, 1, &remote, 1, 0) };
        ensure!(
            read == memory.len() as isize,
            "process_vm_readv: {read}, {}",
            std::io::Error::last_os_error()
        );
        Ok(())
    })
}

/// Reads words by `ptrace()`, which stops the VMM, and so its vCPU.
fn traced(victim: &Victim) -> Result<()> {
    let ptrace = |request: libc::c_uint, at: u64| {
        let at: *mut libc::c_void = ptr::without_provenance_mut(at as usize);
        // SAFETY: The requests below write to no memory of this process.
        let result = unsafe { libc::ptrace(request, victim.pid(), at, 0) };
        result as u64
    };
    ensure!(ptrace(libc::PTRACE_ATTACH, 0) == 0, "ptrace: not attached");
    let mut status = 0;
    // SAFETY: `status` is where the kernel writes to.
    let waited = unsafe { libc::waitpid(victim.pid(), &mut status, libc::__WALL) };
    ensure!(waited == victim.pid(), "ptrace: it does not stop");
    let result = both_halves(victim, "ptrace", |at, memory| {
        for (n, page) in memory.chunks_exact_mut(PAGE).enumerate() {
            for place in [0, PAGE - 8] {
                let word = ptrace(libc::PTRACE_PEEKDATA, at + (n * PAGE + place) as u64);
                page[place..place + 8].copy_from_slice(&word.to_ne_bytes());
            }
        }
        Ok(())
    });
    ensure!(ptrace(libc::PTRACE_DETACH, 0) == 0, "ptrace: not detached");
    result
}

fn proc_mem(victim: &Victim) -> Result<()> {
    let file = File::open(format!("/proc/{}/mem", victim.pid()))?;
    both_halves(victim, "/proc/PID/mem", |at, memory| {
        Ok(file.read_exact_at(memory, at)?)
    })
}

/// The file that private memory comes from is not for reading, and cannot be mapped.
fn file(victim: &Victim) -> Result<()> {
    let path = format!("/proc/{}/fd/{}", victim.pid(), victim.memfd);
    // SAFETY: Plain calls without pointers.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, victim.pid(), 0) };
    ensure!(
        pidfd >= 0,
        "pidfd_open: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: As above.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, victim.memfd, 0) } as i32;
    ensure!(fd >= 0, "pidfd_getfd: {}", std::io::Error::last_os_error());
    let mut pipe = [0; 2];
    let mut memory = [0u8; PAGE];
    // SAFETY: `pipe` has room for two descriptors.
    ensure!(unsafe { libc::pipe(pipe.as_mut_ptr()) } == 0, "no pipe");
    // SAFETY: The buffer is as long as is said.
    let read = unsafe { libc::pread(fd, memory.as_mut_ptr().cast(), PAGE, 0) };
    // SAFETY: No pointers but null.
    let spliced = unsafe { libc::splice(fd, ptr::null_mut(), pipe[1], ptr::null_mut(), PAGE, 0) };
    // SAFETY: As above.
    let sent = unsafe { libc::sendfile(pipe[1], fd, ptr::null_mut(), PAGE) };
    let (protection, flags) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: A new mapping, if any, at an address that the kernel chooses.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, flags, fd, 0) };
    ensure!(
        [read, spliced, sent] == [-1; 3] && mapped == libc::MAP_FAILED,
        "{path}: read {read}, spliced {spliced}, sent {sent}, mapped {mapped:?}"
    );
    let opened = File::open(&path);
    ensure!(opened.is_err(), "{path} can be opened");
    for fd in [pidfd as i32, fd, pipe[0], pipe[1]] {
        // SAFETY: Ours, and used by nobody any more.
        unsafe { libc::close(fd) };
    }
    println!("guest_memfd: not read, spliced, sent, mapped or opened");
    Ok(())
}

/// All memory, as the kernel has it mapped.
fn kcore() -> Result<()> {
    let file = File::open("/proc/kcore")?;
    let mut found = Found::default();
    let mut memory = vec![0; PIECE];
    // What is no memory has no physical address.
    for part in elf_core::parts(&file, elf_core::PT_LOAD)?
        .iter()
        .filter(|part| part.pa != u64::MAX)
    {
        let (mut at, end) = (part.offset, part.offset + part.size);
        while at < end {
            let piece = (PIECE as u64).min(end - at) as usize;
            file.read_exact_at(&mut memory[..piece], at)
                .map_err(|e| format!("/proc/kcore, offset {at:#x}: {e}"))?;
            found.look(&memory[..piece]);
            at += piece as u64;
        }
    }
    found.check("/proc/kcore")
}

/// The host's memory, by its physical addresses.
fn ram() -> Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    for line in fs::read_to_string("/proc/iomem")?.lines() {
        let Some((range, "System RAM")) = line.split_once(" : ") else {
            continue;
        };
        let (first, last) = range.split_once('-').ok_or("/proc/iomem: no range")?;
        let number = |text: &str| u64::from_str_radix(text, 16);
        ranges.push(number(first)?..number(last)? + 1);
    }
    ensure!(!ranges.is_empty(), "/proc/iomem has no memory");
    Ok(ranges)
}

/// The same by `read()`. What is delegated is an error, and so is all that is read with it: around it, pages
/// are read one by one.
fn dev_mem() -> Result<()> {
    let file = File::open("/dev/mem")?;
    let is_memory = |at: u64, memory: &mut [u8]| match file.read_exact_at(memory, at) {
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(false),
        Err(error) => Err(format!("/dev/mem at {at:#x}: {error}")),
        Ok(()) => Ok(true),
    };
    let mut found = Found::default();
    let mut errors = 0u64;
    let mut memory = vec![0; PIECE];
    for range in ram()? {
        for start in range.clone().step_by(PIECE) {
            let piece = (PIECE as u64).min(range.end - start);
            if is_memory(start, &mut memory[..piece as usize])? {
                found.look(&memory[..piece as usize]);
                continue;
            }
            for at in (start..start + piece).step_by(PAGE) {
                if is_memory(at, &mut memory[..PAGE])? {
                    found.look(&memory[..PAGE]);
                } else {
                    errors += 1;
                }
            }
        }
    }
    println!("/dev/mem: {errors} pages are no memory");
    ensure!(
        errors >= SIZE / PAGE as u64,
        "only {errors} pages of /dev/mem cannot be read"
    );
    found.check("/dev/mem")
}

/// The VMM dumps core.
fn core_dump(mut victim: Victim) -> Result<()> {
    if fs::exists(CORE_PATTERN)? {
        fs::write(CORE_PATTERN, "core\n")?;
    }
    let limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: Both pointers are to what the kernel expects, or null.
    let set = unsafe { libc::prlimit(victim.pid(), libc::RLIMIT_CORE, &limit, ptr::null_mut()) };
    ensure!(set == 0, "prlimit: {}", std::io::Error::last_os_error());
    // SAFETY: A signal to our own child.
    unsafe { libc::kill(victim.pid(), libc::SIGABRT) };
    let status = victim.child.wait()?;
    ensure!(status.core_dumped(), "no core was dumped: {status}");
    let found = look_at_all(File::open(CORE)?)?;
    fs::remove_file(CORE)?;
    found.check("core dump")
}

/// All of a core, whose segments begin at pages.
pub(crate) fn look_at_all(mut core: File) -> Result<Found> {
    let mut found = Found::default();
    let mut memory = vec![0; PIECE];
    loop {
        let read = core.read(&mut memory)?;
        if read == 0 {
            return Ok(found);
        }
        found.look(&memory[..read]);
    }
}
