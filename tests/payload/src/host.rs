// SPDX-License-Identifier: GPL-2.0

//! Calls to the host, through RSI_HOST_CALL.

use core::cell::UnsafeCell;

use realm_payload::{fid, smc, RECS};

/// Registers in a host call.
pub(crate) const GPRS: usize = 31;

/// `RsiHostCall`.
#[repr(C, align(256))]
struct HostCall {
    imm: u64,
    gprs: [u64; GPRS],
}

/// One structure for each REC, which alone uses it.
struct Areas(UnsafeCell<[HostCall; RECS]>);

// SAFETY: no two RECs use the same element: `area` is given the number of the one that calls.
unsafe impl Sync for Areas {}

static AREAS: Areas = Areas(UnsafeCell::new(
    [const {
        HostCall {
            imm: 0,
            gprs: [0; GPRS],
        }
    }; RECS],
));

fn area(rec: usize) -> *mut HostCall {
    // A number out of range would give a panic here, and so the end of the realm.
    assert!(rec < RECS);
    AREAS.0.get().cast::<HostCall>().wrapping_add(rec)
}

/// Makes a host call for REC `rec`: `gprs` go to the host, and what the host wrote comes back.
pub(crate) fn call(rec: usize, imm: u64, gprs: &mut [u64; GPRS]) {
    let area = area(rec);
    // SAFETY: the element is this REC's own, and the RMM uses it during the call only.
    unsafe {
        area.write_volatile(HostCall { imm, gprs: *gprs });
        rsi([fid::HOST_CALL, area as u64, 0, 0, 0]);
        *gprs = area.read_volatile().gprs;
    }
}

/// Calls the RMM with X0 to X4 and returns all registers.
///
/// # Safety
///
/// As for [`smc`].
pub(crate) unsafe fn rsi(args: [u64; 5]) -> [u64; 18] {
    let mut regs = [0; 18];
    regs[..5].copy_from_slice(&args);
    // SAFETY: the caller answers for the call.
    unsafe { smc(regs) }
}
