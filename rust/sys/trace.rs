// SPDX-License-Identifier: GPL-2.0

//! Events for tracing (`rust/sys/trace.h`), described in `uapi/README.md`.
//!
//! While nobody listens each of them is a branch that is not taken: what it says of something is
//! looked up only after that.

use super::kernel::{
    bindings,
    ffi,
    jump_label::static_branch_unlikely,
    macros::paste, //
};
use crate::rmi::{Fid, Regs, ReturnCode, Status};
use core::ops::Range;

/// Declares events: for each a module that knows whether somebody listens, and that tells them.
///
/// `kernel::tracepoint::declare_trace` does this for tracepoints that are among the bindings of the
/// kernel crate, where those of a module are not.
macro_rules! events {
    ($(fn $name:ident($($arg:ident: $type:ty),* $(,)?);)*) => {$(
        mod $name {
            use super::*;

            paste! {
                #[cfg(CONFIG_TRACEPOINTS)]
                unsafe extern "C" {
                    static mut [<__tracepoint_ $name>]: bindings::tracepoint;
                    fn [<rust_do_trace_ $name>]($($arg: $type),*);
                }

                /// True if somebody listens.
                #[inline(always)]
                pub(super) fn on() -> bool {
                    #[cfg(CONFIG_TRACEPOINTS)]
                    // SAFETY: The key is that of a tracepoint, which `rust/sys/trace.c` defines.
                    return unsafe {
                        static_branch_unlikely!(
                            [<__tracepoint_ $name>],
                            bindings::tracepoint,
                            key
                        )
                    };
                    #[cfg(not(CONFIG_TRACEPOINTS))]
                    false
                }

                /// Tells them.
                ///
                /// # Safety
                ///
                /// Pointers are to as much as `rust/sys/trace.h` reads.
                #[allow(
                    clippy::too_many_arguments,
                    reason = "one for each field of the event"
                )]
                pub(super) unsafe fn tell($($arg: $type),*) {
                    #[cfg(CONFIG_TRACEPOINTS)]
                    // SAFETY: By the contract of this function; the declaration is that of C.
                    unsafe {
                        [<rust_do_trace_ $name>]($($arg),*)
                    };
                    #[cfg(not(CONFIG_TRACEPOINTS))]
                    let _ = ($($arg,)*);
                }
            }
        }
    )*}
}

// As in `rust/sys/trace.h`.
events! {
    fn rmi_call(
        fid: u32, name: *const ffi::c_char, len: u32, realm: u64, x1: u64, x2: u64, x3: u64, result: u64
    );
    fn rec_enter(realm: u64, vcpu: ffi::c_int);
    fn rec_exit(realm: u64, vcpu: ffi::c_int, result: u64, reason: u32, esr: u64);
    fn realm_map(realm: u64, private: bool, start: u64, end: u64, pages: u64);
    fn realm_unmap(realm: u64, private: bool, start: u64, end: u64, pages: u64);
}

/// `KVM_RMI_NOT_ENTERED`.
const NOT_ENTERED: u32 = 0x100;

/// The RMM has answered a call, made on behalf of a realm, the address of whose RD `realm` says.
#[inline(always)]
pub(super) fn rmi_call(args: &Regs, results: &Regs, realm: impl FnOnce() -> u64) {
    if rmi_call::on() {
        // CAST: An SMC's function is in W0.
        let fid = Fid::from_raw(args.x(0) as u32);
        let command = fid.name();
        // SAFETY: The name is as long as it says.
        unsafe {
            rmi_call::tell(
                fid.raw(),
                command.as_ptr().cast(),
                // CAST: Names are short.
                command.len() as u32,
                realm(),
                args.x(1),
                args.x(2),
                args.x(3),
                results.x(0),
            )
        };
    }
}

/// The REC of the vCPU with this number is about to be entered.
#[inline(always)]
pub fn rec_enter(vcpu: u32, realm: impl FnOnce() -> u64) {
    if rec_enter::on() {
        // SAFETY: There are no pointers.
        unsafe { rec_enter::tell(realm(), vcpu as ffi::c_int) };
    }
}

/// Entering a REC has returned `x0`; if it was entered `exit` has the reason of its exit and ESR_EL2.
#[inline(always)]
pub fn rec_exit(
    vcpu: u32,
    x0: ReturnCode,
    realm: impl FnOnce() -> u64,
    exit: impl FnOnce() -> (u32, u64),
) {
    if rec_exit::on() {
        let (reason, esr) = match x0.status() {
            Status::Success => exit(),
            _ => (NOT_ENTERED, 0),
        };
        // SAFETY: There are no pointers.
        unsafe { rec_exit::tell(realm(), vcpu as ffi::c_int, x0.raw(), reason, esr) };
    }
}

/// Granules have been mapped.
#[inline(always)]
pub fn realm_map(realm: impl FnOnce() -> u64, private: bool, gfns: &Range<u64>) {
    if realm_map::on() && !gfns.is_empty() {
        let (start, end) = (gfns.start, gfns.end);
        // SAFETY: There are no pointers.
        unsafe { realm_map::tell(realm(), private, start, end, end - start) };
    }
}

/// Granules have been unmapped: `pages` of them were noted as mapped.
#[inline(always)]
pub fn realm_unmap(realm: impl FnOnce() -> u64, private: bool, gfns: &Range<u64>, pages: u64) {
    if realm_unmap::on() && !gfns.is_empty() {
        // SAFETY: There are no pointers.
        unsafe { realm_unmap::tell(realm(), private, gfns.start, gfns.end, pages) };
    }
}
