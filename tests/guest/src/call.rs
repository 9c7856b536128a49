// SPDX-License-Identifier: GPL-2.0

//! Calls to the RMM and, through it, to the host.

use core::cell::UnsafeCell;

use realm_guest::{fid, CPUS, PAGE_SIZE};
use realm_payload::smc;

use crate::{cpu, memory};

/// Registers in a host call.
const GPRS: usize = 31;

/// `RsiHostCall`.
#[repr(C, align(256))]
struct HostCall {
    imm: u64,
    gprs: [u64; GPRS],
}

/// Something for each CPU, which alone uses its element.
struct PerCpu<T>(UnsafeCell<[T; CPUS]>);

// SAFETY: no two CPUs use the same element: `mine` gives each its own.
unsafe impl<T> Sync for PerCpu<T> {}

impl<T> PerCpu<T> {
    fn mine(&self) -> *mut T {
        self.0.get().cast::<T>().wrapping_add(cpu())
    }
}

static HOST_CALLS: PerCpu<HostCall> = PerCpu(UnsafeCell::new(
    [const {
        HostCall {
            imm: 0,
            gprs: [0; GPRS],
        }
    }; CPUS],
));

/// A page for the RMM to write to.
#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; PAGE_SIZE as usize]>);

// SAFETY: all CPUs get the same contents from the RMM.
unsafe impl Sync for Page {}

static CONFIG: Page = Page(UnsafeCell::new([0; PAGE_SIZE as usize]));

/// Calls with the first registers given and returns what comes back in them.
///
/// # Safety
///
/// The call may do to memory whatever it is for.
pub(crate) unsafe fn call<const N: usize>(args: [u64; N]) -> [u64; 18] {
    let mut regs = [0; 18];
    for (to, from) in regs.iter_mut().zip(args) {
        *to = from;
    }
    // SAFETY: the caller answers for the call.
    unsafe { smc(regs) }
}

/// RSI_REALM_CONFIG: the width of this realm's IPA space; `None` if nobody answers.
pub(crate) fn ipa_bits() -> Option<u64> {
    let page = CONFIG.0.get() as u64;
    // SAFETY: the page is there for the RMM to write to.
    let [status, ..] = unsafe { call([fid::REALM_CONFIG, page]) };
    // SAFETY: it is the guest's own, and has the width at its beginning.
    (status == 0).then(|| unsafe { memory::load(page) })
}

/// RSI_HOST_CALL: returns its status and what the host has left in the first registers.
pub(crate) fn host(gprs: [u64; 4]) -> (u64, [u64; 4]) {
    let area = HOST_CALLS.mine();
    let mut all = [0; GPRS];
    all[..4].copy_from_slice(&gprs);
    // SAFETY: the element is this CPU's own, and the RMM uses it during the call only.
    unsafe {
        area.write_volatile(HostCall { imm: 0, gprs: all });
        let [status, ..] = call([fid::HOST_CALL, area as u64]);
        let [a, b, c, d, ..] = area.read_volatile().gprs;
        (status, [a, b, c, d])
    }
}
