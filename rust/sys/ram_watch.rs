// SPDX-License-Identifier: GPL-2.0

//! Memory of the host that comes and goes: who looks at it before it does.

use super::{
    ffi,
    kernel::{
        error::to_result,
        prelude::*,
        sync::Arc, //
    },
    memory::pages, //
};
use crate::rmi::AddrRange;

/// Has somebody look at memory that comes and goes, before it does: while this is there, for there may be only
/// one of these.
///
/// # Invariants
///
/// What is watched with `kvm_rmi_helper_watch_ram()` is the content of the box.
pub struct RamWatch<T>(KBox<Watched<T>>);

/// Who looks, with what, at memory that comes and at memory that goes.
struct Watched<T> {
    data: Arc<T>,
    coming: Visit<T>,
    going: Visit<T>,
}

/// Says whether that may be.
type Visit<T> = fn(&T, AddrRange) -> Result;

impl<T> Watched<T> {
    /// What the notifier calls of memory that comes.
    ///
    /// # Safety
    ///
    /// `arg` points to one that nobody changes.
    unsafe extern "C" fn comes(pfn: c_ulong, nr_pages: c_ulong, arg: *mut c_void) -> c_int {
        // SAFETY: By the contract of this function.
        let this = unsafe { &*arg.cast::<Self>() };
        this.visit(this.coming, pfn, nr_pages)
    }

    /// What the notifier calls of memory that goes.
    ///
    /// # Safety
    ///
    /// As for [`Self::comes`].
    unsafe extern "C" fn goes(pfn: c_ulong, nr_pages: c_ulong, arg: *mut c_void) -> c_int {
        // SAFETY: By the contract of this function.
        let this = unsafe { &*arg.cast::<Self>() };
        this.visit(this.going, pfn, nr_pages)
    }

    fn visit(&self, visit: Visit<T>, pfn: c_ulong, nr_pages: c_ulong) -> c_int {
        match pages(pfn, nr_pages).map(|range| visit(&self.data, range)) {
            Some(Err(error)) => error.to_errno(),
            _ => 0,
        }
    }
}

impl<T> RamWatch<T> {
    /// From now on `coming` is called for each range that is about to go online, and `going` for each that is
    /// about to go offline. If it returns an error the range does not.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(data: &Arc<T>, coming: Visit<T>, going: Visit<T>) -> Result<Self> {
        let data = data.clone();
        let watched = Watched {
            data,
            coming,
            going,
        };
        let watched = KBox::new(watched, GFP_KERNEL)?;
        let arg = core::ptr::from_ref(&*watched).cast_mut().cast();
        let (comes, goes) = (Watched::<T>::comes, Watched::<T>::goes);
        // SAFETY: They have the expected signature, and the content stays where it is, unchanged, until it is
        // watched no more.
        to_result(unsafe { ffi::kvm_rmi_helper_watch_ram(arg, comes, goes) })?;
        // INVARIANT: Right here.
        Ok(Self(watched))
    }
}

impl<T> Drop for RamWatch<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant. Nobody is called any more when this returns.
        unsafe { ffi::kvm_rmi_helper_unwatch_ram() };
    }
}
