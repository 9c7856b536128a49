// SPDX-License-Identifier: GPL-2.0

//! The host half of the Arm Confidential Compute Architecture, as a component of the kernel.
//!
//! This root is Kbuild's; Cargo has `rust/lib.rs`. What decides about realms is in the folders
//! beside `rust/` and knows nothing of the kernel. Here is the seam: how an SMC is made, where
//! memory comes from, and where KVM calls us.

use kernel::{
    prelude::*,
    sync::Arc, //
};

/// log2 of the granule size in bytes: the RMM is told to use the kernel's page size.
pub(crate) const GRANULE_SHIFT: u32 = kernel::bindings::PAGE_SHIFT;

#[path = "../rmi/mod.rs"]
pub mod rmi;

mod debugfs;
mod ffi;
mod host;
mod kvm;
mod memory;
mod print;
#[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
mod selftest;
mod smccc;

module! {
    type: KvmArmRmi,
    name: "kvm_arm_rmi",
    authors: ["kvm_arm_rmi maintainers"],
    description: "KVM for Arm CCA: the host half of the Realm Management Interface",
    license: "GPL v2",
}

/// The loaded component. Fields are dropped from the first to the last: KVM lets go of us before
/// anything that it could use is gone.
#[pin_data]
struct KvmArmRmi {
    #[pin]
    registration: kvm::Registration,
    #[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
    #[pin]
    selftest: kernel::debugfs::Scope<selftest::SelfTest>,
    #[pin]
    debugfs: debugfs::Files,
}

impl kernel::InPlaceModule for KvmArmRmi {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let host = Arc::new(host::start()?, GFP_KERNEL)?;
            let dir = kernel::debugfs::Dir::new(c"kvm_arm_rmi");
            Ok(try_pin_init!(Self {
                debugfs <- debugfs::files(&dir, &host),
                #[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
                selftest <- selftest::dir(&dir, &host),
                registration <- kvm::Registration::new(module),
            }? Error))
        })
    }
}
