// SPDX-License-Identifier: GPL-2.0

//! Where KVM calls us: the operations table of the C seam (`struct kvm_rmi_ops`).

use crate::ffi;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// KVM knows us as long as this lives.
///
/// # Invariants
///
/// `ops` is registered with `kvm_rmi_register()`.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration {
    #[pin]
    ops: Opaque<bindings::kvm_rmi_ops>,
}

// SAFETY: The table is not written once it is registered, and may be unregistered by any thread.
unsafe impl Send for Registration {}
// SAFETY: As above.
unsafe impl Sync for Registration {}

impl Registration {
    /// Registers the component.
    ///
    /// # Errors
    ///
    /// `ENODEV` if KVM cannot run realms on this host, `EBUSY` if it has a component already.
    pub(crate) fn new(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Initialised only if the registration succeeded.
            ops <- Opaque::try_ffi_init(move |ops: *mut bindings::kvm_rmi_ops| {
                let table = bindings::kvm_rmi_ops {
                    owner: module.as_ptr(),
                    // SAFETY: Parameters are set before the module is initialised.
                    cap: unsafe { ffi::kvm_rmi_cap },
                    check_extension: Some(check_extension),
                };
                // SAFETY: `ops` is where the table will stay, and is valid for writing.
                unsafe { ops.write(table) };
                // SAFETY: The table is complete, and pinned until it is unregistered.
                let result = to_result(unsafe { bindings::kvm_rmi_register(ops) });
                result.inspect_err(|_| pr_err!("no realms: KVM cannot run them on this host\n"))
            }),
        }? Error)
    }
}

#[pinned_drop]
impl PinnedDrop for Registration {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the type's invariant.
        unsafe { bindings::kvm_rmi_unregister(self.ops.get()) };
    }
}

/// `KVM_CHECK_EXTENSION(KVM_CAP_ARM_RMI)`: 1, since an RMM is active.
extern "C" fn check_extension(_kvm: *mut bindings::kvm) -> c_int {
    1
}
