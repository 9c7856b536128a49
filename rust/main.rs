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

#[path = "../realm/mod.rs"]
pub mod realm;

#[path = "../rec/mod.rs"]
pub mod rec;

#[path = "../exit/mod.rs"]
pub mod exit;

#[path = "../mmu/mod.rs"]
pub mod mmu;

#[path = "../guest_memfd/mod.rs"]
pub mod guest_memfd;

mod chunks;
mod create;
#[cfg(CONFIG_DEBUG_FS)]
mod debugfs;
mod ending;
mod ffi;
mod fold;
mod host;
mod kvm;
mod memory;
mod memslot;
mod populate;
mod print;
mod private;
mod registers;
mod ripas;
#[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
mod selftest;
mod shared;
mod smccc;
#[cfg_attr(not(CONFIG_DEBUG_FS), path = "no_status.rs")]
mod status;
mod trace;
mod unmap;
mod vcpu;
mod views;
mod vm;
#[cfg(CONFIG_DEBUG_FS)]
mod vm_status;
mod words;

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
    selftest: debugfs::Dir<selftest::SelfTest>,
    _status: Arc<status::Directory>,
    _host: Arc<host::Host>,
}

impl kernel::InPlaceModule for KvmArmRmi {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let host = Arc::new(host::start()?, GFP_KERNEL)?;
            let status = Arc::new(status::Directory::new(&host)?, GFP_KERNEL)?;
            #[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
            let selftest = {
                let test = selftest::SelfTest::new(&host)?;
                status.dir().subdir(c"selftest", &test, selftest::FILES)?
            };
            Ok(try_pin_init!(Self {
                registration <- kvm::Registration::new(module, &host, &status),
                #[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
                selftest,
                _status: status,
                _host: host,
            }? Error))
        })
    }
}
