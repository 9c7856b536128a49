// SPDX-License-Identifier: GPL-2.0

//! Memory of a realm goes bad, and the host is told. What is the realm's alone is lost to it and to nobody
//! else, what it shares is the VMM's to replace, and without what holds the realm together it is at its end: the
//! RMM is not asked to look there any more, and keeps what it has for that reason. Another realm goes on in any
//! case, and nobody uses the page again.

use std::fs;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use kvm_arm_rmi::rmi::Fid;
use kvm_arm_rmi::uapi::KVM_ARM_RMI_FAULT_MEMORY;
use kvm_bindings::KVM_MEMORY_EXIT_FLAG_PRIVATE;
use realm_guest::{Op, Order, PAGE_SIZE};

mod hole;

use super::brief::{on_cpu, with_two};
use super::cpu::{Cpu, End};
use super::memory::{check, punch_hole};
use super::parameters::Setting;
use super::run::chunk;
use super::run::memory::set_ripas;
use super::signal;
use super::trace::{Call, Trace};
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, faults, Result};

const SHAPE: Shape = Shape {
    cpus: 2,
    ..Shape::REALM
};
/// Memory that is left alone, and right behind it the page that goes bad.
const GOOD: u64 = chunk(0);
const BAD: u64 = GOOD + PAGE_SIZE;
/// What a table maps: all of it is left free but for these.
const TABLE: u64 = 0x20_0000;

/// What goes bad, and what becomes of that. Returns the number of the page frame.
type Case = fn(&Vm, &Trace, &mut Cpu<'_>, &mut Cpu<'_>) -> Result<u64>;

/// With how many granules the RMM keeps: none; a REC or a table, and what holds it; or all that there is, which
/// begins with the realm's image.
const CASES: [(&str, Case, Range<u64>); 7] = [
    ("a private page", private, 0..1),
    (
        "a private page in a hole that is being made",
        hole::private,
        0..1,
    ),
    ("a shared page", shared, 0..1),
    ("an RD", rd, 64..u64::MAX),
    ("a REC", rec, 18..64),
    ("a table", table, 4..64),
    ("a page that is to be moved", offline, 0..1),
];

/// `realm poison`.
pub(super) fn main() -> Result<()> {
    signal::init()?;
    watch_for_bus_errors()?;
    // Each page is delegated alone.
    let _alone = Setting::new("fault_around", "4096")?;
    let before = debugfs::delegated()?;
    let other = Vm::new(Shape::REALM)?;
    let mut wrong = 0;
    on_cpu(&other, |other| {
        let pages = Order::pages(Op::Touch, GOOD, 16 * PAGE_SIZE);
        other.expect(pages, &[], 0)?;
        for (name, case, keeps) in CASES {
            let result = one_case(case).and_then(|kept| {
                ensure!(keeps.contains(&kept), "{kept} granules are kept");
                Ok(())
            });
            let op = Op::Check;
            other.expect(Order { op, ..pages }, &[], 0)?;
            match result {
                Ok(()) => println!("{name}: ok"),
                Err(error) => {
                    println!("{name}: {error}");
                    wrong += 1;
                }
            }
        }
        Ok(())
    })?;
    drop(other);
    keeps(before, 0)?;
    ensure!(wrong == 0, "{wrong} cases failed");
    Ok(())
}

/// A realm of which something goes bad, and its end. Returns how many granules of it the RMM keeps.
fn one_case(case: Case) -> Result<u64> {
    let (before, leaked) = debugfs::granules()?;
    let corrupted = corrupted()?;
    let trace = Trace::new()?;
    let vm = Vm::new(SHAPE)?;
    let frame = with_two(&vm, |cpu, mut other| case(&vm, &trace, cpu, &mut other))?;
    drop(vm);
    let now = self::corrupted()?;
    ensure!(
        now == corrupted + PAGE_SIZE / 1024,
        "HardwareCorrupted: {now} kB after {corrupted}"
    );
    is_out_of_use(frame)?;
    keeps(before, leaked)
}

/// The RMM has no more than before but for what it keeps, which is counted: how many granules that is, beside
/// those that it has kept before.
fn keeps(before: u64, leaked: u64) -> Result<u64> {
    let (delegated, all) = debugfs::granules()?;
    let kept = all - leaked;
    ensure!(
        delegated == before + kept,
        "{delegated} granules are delegated, and {kept} of that kept, instead of {before}"
    );
    Ok(kept)
}

/// Kilobytes that the host knows to be bad.
fn corrupted() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let value = text.lines().find_map(|line| {
        let value = line.strip_prefix("HardwareCorrupted:")?;
        value.split_whitespace().next()
    });
    Ok(value.ok_or("meminfo: no HardwareCorrupted")?.parse()?)
}

/// A page frame is known to be bad, and not free.
fn is_out_of_use(frame: u64) -> Result<()> {
    const BUDDY: u64 = 1 << 10;
    const POISONED: u64 = 1 << 19;
    let mut flags = [0; 8];
    let file = fs::File::open("/proc/kpageflags")?;
    file.read_exact_at(&mut flags, frame * 8)?;
    let flags = u64::from_le_bytes(flags);
    ensure!(
        flags & (BUDDY | POISONED) == POISONED,
        "page frame {frame:#x} has the flags {flags:#x}"
    );
    Ok(())
}

/// The host is told that a page frame is bad; what it says about it.
fn poison(frame: u64) -> std::io::Result<()> {
    let file = "/sys/kernel/debug/hwpoison/corrupt-pfn";
    fs::write(file, format!("{frame:#x}"))
}

/// The same, of a page of guest_memfd. As the file keeps the page Linux 7.3 says that this has failed, but the
/// file knows.
fn poison_private(frame: u64) -> Result<()> {
    match poison(frame) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
        result => Ok(result?),
    }
}

/// The same, of memory that the kernel can do nothing about.
fn poison_in_vain(frame: u64) -> Result<()> {
    match poison(frame) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
        result => Err(format!("page frame {frame:#x} is poisoned: {result:?}").into()),
    }
}

/// The page frame of the only call of this command; `argument` is the register with its address.
fn only(calls: &[Call], fid: Fid, argument: usize) -> Result<u64> {
    let mut calls = calls.iter().filter(|call| call.fid == fid.raw().into());
    match (calls.next(), calls.next()) {
        (Some(call), None) => Ok(call.arguments[argument - 1] / PAGE_SIZE),
        other => Err(format!("not one call of {}: {other:x?}", fid.name()).into()),
    }
}

/// A page of private memory that only this realm has had: its page frame.
fn touch_private(trace: &Trace, cpu: &mut Cpu<'_>) -> Result<u64> {
    cpu.expect(Order::pages(Op::Touch, GOOD, PAGE_SIZE), &[], 0)?;
    trace.clear()?;
    cpu.expect(Order::pages(Op::Touch, BAD, PAGE_SIZE), &[], 0)?;
    only(&trace.calls()?, Fid::GRANULE_RANGE_DELEGATE, 1)
}

/// What is left alone is there, and all else can be had.
fn goes_on(cpu: &mut Cpu<'_>) -> Result<()> {
    let pages = |op, base| Order::pages(op, base, 4 * PAGE_SIZE);
    let good = Order::pages(Op::Touch, GOOD, PAGE_SIZE);
    cpu.expect(good, &[], 0)?;
    let new = chunk(1);
    cpu.expect(pages(Op::Touch, new), &[], 0)?;
    cpu.expect(pages(Op::Check, new), &[], 0)?;
    cpu.expect(
        Order {
            op: Op::Check,
            ..good
        },
        &[],
        0,
    )
}

/// Who touches a private page that is bad comes back with EHWPOISON, until the VMM has taken it away and the
/// realm has asked for another.
fn private(vm: &Vm, trace: &Trace, cpu: &mut Cpu<'_>, other: &mut Cpu<'_>) -> Result<u64> {
    let frame = touch_private(trace, cpu)?;
    poison_private(frame)?;
    // It does not help to say once more that the page is private, as the VMM does.
    match cpu.give(Order::pages(Op::Check, BAD, PAGE_SIZE), &[]) {
        Err(error) if error.to_string().contains("the same fault for ever") => {}
        end => return Err(format!("with a bad page: {end:?}").into()),
    }
    is_lost(cpu)?;
    is_lost(cpu)?;
    goes_on(other)?;
    // Nor to ask for it, while the bad page is there.
    set_ripas(other, Op::SetRam, BAD, PAGE_SIZE)?;
    is_lost(cpu)?;
    let memfd = vm.slots.first().and_then(|slot| slot.memfd.as_ref());
    punch_hole(
        memfd.ok_or("no guest_memfd")?,
        BAD - vm.slots[0].base,
        PAGE_SIZE,
    )?;
    set_ripas(other, Op::SetRam, BAD, PAGE_SIZE)?;
    let pages = |op| Order::pages(op, BAD, PAGE_SIZE);
    other.expect(pages(Op::CheckZero), &[], 0)?;
    other.expect(pages(Op::Touch), &[], 0)?;
    match cpu.run()? {
        End::Done([0, ..]) => Ok(frame),
        end => Err(format!("with a new page: {end:?}").into()),
    }
}

/// KVM_RUN says that the private page is lost.
fn is_lost(cpu: &mut Cpu<'_>) -> Result<()> {
    const KVM_RUN: u64 = 0xae80;
    // SAFETY: The CPU is this thread's, and the ioctl has no argument.
    let result = unsafe { libc::ioctl(cpu.fd.as_raw_fd(), KVM_RUN, 0) };
    let error = std::io::Error::last_os_error();
    ensure!(
        result < 0 && error.raw_os_error() == Some(libc::EHWPOISON),
        "instead of EHWPOISON: {result}, {error}"
    );
    let fault = cpu.long_fault();
    let (flags, gpa, size, cause) = (fault.flags, fault.gpa, fault.size, fault.cause);
    ensure!(
        flags == u64::from(KVM_MEMORY_EXIT_FLAG_PRIVATE)
            && (gpa, size) == (BAD, PAGE_SIZE)
            && cause == KVM_ARM_RMI_FAULT_MEMORY,
        "EHWPOISON for {gpa:#x}, {size:#x} bytes, flags {flags:#x}, cause {cause}"
    );
    Ok(())
}

/// Who touches a shared page that is bad gets a signal, as in any VM, until the VMM has replaced the page.
fn shared(vm: &Vm, _trace: &Trace, cpu: &mut Cpu<'_>, other: &mut Cpu<'_>) -> Result<u64> {
    let memory = &vm.slots[0].shared;
    let at = BAD - vm.slots[0].base;
    vm.set_private(BAD, PAGE_SIZE, false)?;
    let order = Order::pages(Op::Check, BAD, PAGE_SIZE).shared();
    cpu.expect(
        Order {
            op: Op::Touch,
            ..order
        },
        &[],
        0,
    )?;
    let frame = memory.frames()?[(at / PAGE_SIZE) as usize];
    poison(frame)?;
    for _ in 0..3 {
        BUS_ERROR.store(0, Ordering::SeqCst);
        vm.stop.store(true, Ordering::Release);
        let end = match BUS_ERRORS.load(Ordering::SeqCst) {
            0 => cpu.give(order, &[])?,
            _ => cpu.run()?,
        };
        vm.stop.store(false, Ordering::Release);
        ensure!(end == End::Stopped, "instead of a signal: {end:?}");
        let seen = BUS_ERROR.load(Ordering::SeqCst);
        let wanted = memory.address() + at;
        ensure!(
            seen == wanted,
            "a bus error at {seen:#x}, not at {wanted:#x}"
        );
    }
    goes_on(other)?;
    memory.discard(at, PAGE_SIZE)?;
    // It is new, and the realm finds its pattern missing.
    match cpu.run()? {
        End::Done([1, ..]) => Ok(frame),
        end => Err(format!("with a new page: {end:?}").into()),
    }
}

/// The realm's descriptor.
fn rd(_vm: &Vm, trace: &Trace, cpu: &mut Cpu<'_>, other: &mut Cpu<'_>) -> Result<u64> {
    let frame = only(&trace.calls()?, Fid::REALM_CREATE, 1)?;
    poison_in_vain(frame)?;
    has_ended(cpu, other)?;
    Ok(frame)
}

/// The second CPU, which is not the first to find out.
fn rec(_vm: &Vm, trace: &Trace, cpu: &mut Cpu<'_>, other: &mut Cpu<'_>) -> Result<u64> {
    let mut calls = trace.calls()?;
    let first = calls
        .iter()
        .position(|call| call.fid == Fid::REC_CREATE.raw().into());
    calls.drain(..=first.ok_or("no REC")?);
    let frame = only(&calls, Fid::REC_CREATE, 2)?;
    poison_in_vain(frame)?;
    has_ended(cpu, other)?;
    Ok(frame)
}

/// A table.
fn table(_vm: &Vm, trace: &Trace, cpu: &mut Cpu<'_>, other: &mut Cpu<'_>) -> Result<u64> {
    let base = (chunk(0) & !(TABLE - 1)) + TABLE;
    trace.clear()?;
    cpu.expect(Order::pages(Op::Touch, base, PAGE_SIZE), &[], 0)?;
    let frame = only(&trace.calls()?, Fid::RTT_CREATE, 2)?;
    poison_in_vain(frame)?;
    has_ended(cpu, other)?;
    Ok(frame)
}

/// Neither CPU runs again, and one is told why.
fn has_ended(cpu: &mut Cpu<'_>, other: &mut Cpu<'_>) -> Result<()> {
    let order = Order::pages(Op::Touch, GOOD, PAGE_SIZE);
    match cpu.give(order, &[]) {
        Err(error) if error.to_string().ends_with("InternalError") => {}
        end => return Err(format!("with a bad page: {end:?}").into()),
    }
    for end in [cpu.run(), other.run()] {
        match end {
            Err(error) if faults::errno(&error) == Some(libc::EIO) => {}
            end => return Err(format!("of a dead realm: {end:?}").into()),
        }
    }
    Ok(())
}

/// A page that only may go bad is not moved under a realm that has it to itself; a shared one is, and
/// what is in it with it.
fn offline(vm: &Vm, trace: &Trace, cpu: &mut Cpu<'_>, other: &mut Cpu<'_>) -> Result<u64> {
    let file = "/sys/devices/system/memory/soft_offline_page";
    let offline = |frame: u64| fs::write(file, format!("{:#x}", frame * PAGE_SIZE));
    let frame = touch_private(trace, cpu)?;
    let refused = offline(frame);
    ensure!(refused.is_err(), "a private page is taken off-line");
    let pages = Order::pages(Op::Check, BAD, PAGE_SIZE);
    cpu.expect(pages, &[], 0)?;
    goes_on(cpu)?;
    println!("a private page that is to be moved: {refused:?}");

    let memory = &vm.slots[0].shared;
    vm.set_private(BAD, PAGE_SIZE, false)?;
    let pages = pages.shared();
    cpu.expect(
        Order {
            op: Op::Touch,
            ..pages
        },
        &[],
        0,
    )?;
    let place = ((BAD - vm.slots[0].base) / PAGE_SIZE) as usize;
    let frame = memory.frames()?[place];
    offline(frame)?;
    ensure!(
        memory.frames()?[place] != frame,
        "a shared page stays where it is"
    );
    cpu.expect(pages, &[], 0)?;
    other.expect(pages, &[], 0)?;
    Ok(frame)
}

/// Where a thread was that has got the last SIGBUS for bad memory, and how many there were.
static BUS_ERROR: AtomicU64 = AtomicU64::new(0);
static BUS_ERRORS: AtomicU64 = AtomicU64::new(0);

fn watch_for_bus_errors() -> Result<()> {
    extern "C" fn note(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        // SAFETY: The kernel hands over what it says of the signal, which for this one has an address.
        let (code, address) = unsafe { ((*info).si_code, (*info).si_addr()) };
        if code != libc::BUS_MCEERR_AR {
            // SAFETY: Ends the process.
            unsafe { libc::_exit(3) };
        }
        BUS_ERRORS.fetch_add(1, Ordering::SeqCst);
        BUS_ERROR.store(address.addr() as u64, Ordering::SeqCst);
    }
    // SAFETY: All zeroes is a valid sigaction, without mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = note as extern "C" fn(_, _, _) as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: The handler may run at any time.
    Ok(check(unsafe {
        libc::sigaction(libc::SIGBUS, &action, ptr::null_mut())
    })?)
}
