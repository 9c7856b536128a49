// SPDX-License-Identifier: GPL-2.0

//! Events for tracing (`rust/trace.h`), described in `uapi/README.md`.
//!
//! While nobody listens each of them is a branch that is not taken: what it says of something is
//! looked up only after that.

use crate::{
    exit::Half,
    rec::run,
    rmi::{cmd::realm::RdName, Fid, Regs, ReturnCode, Status},
    vcpu::Running,
    vm::Vm, //
};
use core::ops::Range;
use kernel::{
    ffi,
    macros::paste,
    sync::SetOnce, //
};

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
                    static mut [<__tracepoint_ $name>]: kernel::bindings::tracepoint;
                    fn [<rust_do_trace_ $name>]($($arg: $type),*);
                }

                /// True if somebody listens.
                #[inline(always)]
                pub(super) fn on() -> bool {
                    #[cfg(CONFIG_TRACEPOINTS)]
                    // SAFETY: The key is that of a tracepoint, which `rust/trace.c` defines.
                    return unsafe {
                        kernel::jump_label::static_branch_unlikely!(
                            [<__tracepoint_ $name>],
                            kernel::bindings::tracepoint,
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
                /// Pointers are to as much as `rust/trace.h` reads.
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

// As in `rust/trace.h`.
events! {
    fn rmi_call(fid: u32, name: *const ffi::c_char, len: u32, realm: u64, result: u64);
    fn rec_enter(realm: u64, vcpu: ffi::c_int);
    fn rec_exit(realm: u64, vcpu: ffi::c_int, result: u64, reason: u32, esr: u64);
    fn realm_map(realm: u64, private: bool, start: u64, end: u64, pages: u64);
    fn realm_unmap(realm: u64, private: bool, start: u64, end: u64, pages: u64);
}

/// `KVM_RMI_NOT_ENTERED`.
const NOT_ENTERED: u32 = 0x100;

/// A realm as the events have it: the address of its RD, or 0.
fn realm(name: Option<&SetOnce<RdName>>) -> u64 {
    name.and_then(SetOnce::copy).map_or(0, RdName::raw)
}

/// The RMM has answered a call, made on behalf of a realm or of none.
#[inline(always)]
pub(crate) fn rmi_call(args: &Regs, results: &Regs, name: Option<&SetOnce<RdName>>) {
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
                realm(name),
                results.x(0),
            )
        };
    }
}

/// A REC is about to be entered.
#[inline(always)]
pub(crate) fn rec_enter(running: &Running<'_>) {
    if rec_enter::on() {
        // SAFETY: There are no pointers.
        unsafe { rec_enter::tell(realm(Some(&running.vm.name)), running.id()) };
    }
}

/// Entering a REC has returned `x0`.
#[inline(always)]
pub(crate) fn rec_exit(running: &Running<'_>, x0: ReturnCode) {
    if rec_exit::on() {
        let exit = run::Exit::of(&running.rec.run);
        let (reason, esr) = match x0.status() {
            Status::Success => (exit.reason().into(), exit.esr()),
            _ => (NOT_ENTERED, 0),
        };
        let realm = realm(Some(&running.vm.name));
        // SAFETY: There are no pointers.
        unsafe { rec_exit::tell(realm, running.id(), x0.raw(), reason, esr) };
    }
}

/// Granules have been mapped.
#[inline(always)]
pub(crate) fn realm_map(vm: &Vm, half: Half, gfns: &Range<u64>) {
    if realm_map::on() && !gfns.is_empty() {
        let (start, end) = (gfns.start, gfns.end);
        let private = half == Half::Protected;
        // SAFETY: There are no pointers.
        unsafe { realm_map::tell(realm(Some(&vm.name)), private, start, end, end - start) };
    }
}

/// Granules have been unmapped: `pages` of them were noted as mapped.
#[inline(always)]
pub(crate) fn realm_unmap(vm: &Vm, half: Half, gfns: &Range<u64>, pages: u64) {
    if realm_unmap::on() && !gfns.is_empty() {
        let private = half == Half::Protected;
        let realm = realm(Some(&vm.name));
        // SAFETY: There are no pointers.
        unsafe { realm_unmap::tell(realm, private, gfns.start, gfns.end, pages) };
    }
}
