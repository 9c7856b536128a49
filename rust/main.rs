// SPDX-License-Identifier: GPL-2.0

//! The host half of the Arm Confidential Compute Architecture, as a component of the kernel.
//!
//! This root is Kbuild's; Cargo has `rust/lib.rs`. What decides about realms is in the folders
//! beside `rust/`, which know of the kernel what is in `rust/sys/`. A file uses what stands below it:
//! `kvm.rs`, then `rec/`, then `guest_memfd/`, then `mmu/`, then `realm/`, then `sys/`, then `exit/`,
//! `rmi/` and `uapi/`, which are what the RMM, the host and user space agree upon.

// What is public for the tests, which have the same files as a library, is not so here: who calls it
// can be seen, and the compiler makes use of that.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "public for the library that tests use"
)]

use realm::{host, status};
use sys::kernel::{
    bindings::PAGE_SHIFT,
    prelude::*,
    sync::Arc,
    Module, //
};

/// log2 of the granule size in bytes: the RMM is told to use the kernel's page size.
pub(crate) const GRANULE_SHIFT: u32 = PAGE_SHIFT;

#[path = "../rmi/mod.rs"]
mod rmi;

#[path = "../realm/mod.rs"]
mod realm;

#[path = "../rec/mod.rs"]
mod rec;

#[path = "../exit/mod.rs"]
mod exit;

#[path = "../mmu/mod.rs"]
mod mmu;

#[path = "../guest_memfd/mod.rs"]
mod guest_memfd;

#[path = "../uapi/mod.rs"]
mod uapi;

mod caps;
mod kvm;
#[cfg(not(linux_6_12))]
mod print;
#[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
mod selftest;
mod sys;

module! {
    type: KvmArmRmi,
    name: "kvm_arm_rmi",
    authors: ["kvm_arm_rmi maintainers"],
    description: "KVM for Arm CCA: the host half of the Realm Management Interface",
    license: "GPL v2",
}

/// The loaded component. Fields are dropped from the first to the last: KVM lets go of us before
/// anything that it could use is gone.
struct KvmArmRmi {
    _registration: sys::Registration<rec::RealmVm>,
    #[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
    _selftest: sys::debugfs::Dir<selftest::SelfTest>,
    _ram: sys::ram_watch::RamWatch<host::Host>,
    _all: Arc<kvm::AllVms>,
}

impl Module for KvmArmRmi {
    fn init(module: &'static ThisModule) -> Result<Self> {
        caps::check(&sys::platform::CapNumbers::get())?;
        let (host, ram) = host::start()?;
        let status = status::show(&host)?;
        #[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
        let selftest = {
            let test = selftest::SelfTest::new(&host)?;
            status.subdir(fmt!("selftest"), &test, selftest::FILES)?
        };
        let settings = settings(&host.negotiated.features);
        let all = Arc::new(kvm::AllVms { host, status }, GFP_KERNEL)?;
        let registration = sys::Registration::new(module, &all, &settings)?;
        host::announce(&all.host);
        Ok(Self {
            _registration: registration,
            #[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
            _selftest: selftest,
            _ram: ram,
            _all: all,
        })
    }
}

fn settings(features: &rmi::Features) -> sys::ops::Settings {
    sys::ops::Settings {
        // CAST: At most 52.
        ipa_limit: features.ipa_bits() as u32,
        // CAST: At most 16 quadwords.
        sve_max_vl: match features.sve() {
            true => features.sve_vq() as u32 * 16,
            false => 0,
        },
        // CAST: At most 64 of either.
        breakpoints: features.breakpoints() as u32,
        watchpoints: features.watchpoints() as u32,
        // CAST: At most 31.
        pmu_counters: features.pmu().then_some(features.pmu_counters() as u32),
        list_registers: features.list_registers(),
        caps: caps::ALLOWED,
    }
}
