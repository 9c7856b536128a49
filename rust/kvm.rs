// SPDX-License-Identifier: GPL-2.0

//! Where KVM calls us: the operations table of the C seam (`struct kvm_rmi_ops`).
//!
//! Every operation is a few lines that turn KVM's pointers into what the rest works on, and results
//! into what KVM wants.

use crate::{
    create,
    exit::reason,
    ffi,
    host::Host,
    memslot,
    populate,
    rec::run::offset,
    registers,
    rmi::{Features, Fid},
    status::Directory,
    unmap,
    vcpu::{Next, RecVcpu, Running},
    views::{Kvm, MmuReadLock, MmuWriteLock},
    vm::Vm, //
};
use kernel::{
    bindings,
    error::{from_result, to_result},
    prelude::*,
    sync::Arc,
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
    host: Arc<Host>,
    status: Arc<Directory>,
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
    pub(crate) fn new(
        module: &'static ThisModule,
        host: &Arc<Host>,
        status: &Arc<Directory>,
    ) -> impl PinInit<Self, Error> {
        let (host, status) = (host.clone(), status.clone());
        let table = table(module, &host.negotiated.features);
        try_pin_init!(Self {
            host,
            status,
            // INVARIANT: Initialised only if the registration succeeded.
            ops <- Opaque::try_ffi_init(move |ops: *mut bindings::kvm_rmi_ops| {
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

// What the C seam knows of the RMI as well.
const _: () = {
    assert!(bindings::KVM_RMI_SMC_REC_ENTER == Fid::REC_ENTER.raw());
    assert!(bindings::KVM_RMI_RUN_EXIT_REASON as usize == offset::EXIT_REASON);
    assert!(bindings::KVM_RMI_EXIT_REASON_IRQ as u8 == reason::IRQ);
    assert!(bindings::KVM_RMI_EXIT_REASON_FIQ as u8 == reason::FIQ);
};

fn table(module: &'static ThisModule, features: &Features) -> bindings::kvm_rmi_ops {
    let mut vcpu_features = (1 << bindings::KVM_ARM_VCPU_PSCI_0_2)
        | (1 << bindings::KVM_ARM_VCPU_PTRAUTH_ADDRESS)
        | (1 << bindings::KVM_ARM_VCPU_PTRAUTH_GENERIC);
    let mut sve_max_vl = 0;
    if features.sve() {
        vcpu_features |= 1 << bindings::KVM_ARM_VCPU_SVE;
        // CAST: At most 16 quadwords.
        sve_max_vl = features.sve_vq() as u32 * 16;
    }
    bindings::kvm_rmi_ops {
        owner: module.as_ptr(),
        // SAFETY: Parameters are set before the module is initialised.
        cap: unsafe { ffi::kvm_rmi_cap },
        // CAST: At most 52.
        ipa_limit: features.s2sz() as u32,
        sve_max_vl,
        // CAST: Numbers of 6 bits.
        max_brps: features.breakpoints() as u32 - 1,
        max_wrps: features.watchpoints() as u32 - 1,
        vcpu_features,
        check_extension: Some(check_extension),
        allows_cap: Some(allows_cap),
        init_vm: Some(init_vm),
        flush_vm: Some(flush_vm),
        destroy_vm: Some(destroy_vm),
        destroy_vcpu: Some(destroy_vcpu),
        populate: Some(populate_vm),
        first_run: Some(first_run),
        complete: Some(complete),
        enter: Some(enter),
        handle_exit: Some(handle_exit),
        may_set_reg: Some(may_set_reg),
        copy_reg_indices: Some(copy_reg_indices),
        map_shared: Some(map_shared),
        add_table: Some(add_table),
        check_memslot: Some(check_memslot),
        unmap: Some(unmap_range),
    }
}

/// The component's half of a VM.
///
/// # Safety
///
/// `kvm` is a realm's VM that is alive for `'a`, and not destroyed by this component.
unsafe fn vm<'a>(kvm: *mut bindings::kvm) -> &'a Vm {
    // SAFETY: By the contract, `init_vm` has put a `Vm` there, which `destroy_vm` will take away.
    unsafe { &*(*kvm).arch.rmi.realm.cast() }
}

/// A vCPU that this task runs.
///
/// # Safety
///
/// `vcpu` is a realm's vCPU that has a REC; this task holds its mutex for `'a`, and this is the only
/// one that there is.
unsafe fn running<'a>(vcpu: *mut bindings::kvm_vcpu) -> Running<'a> {
    // SAFETY: By the contract, `create::activate` has put a `RecVcpu` there.
    unsafe {
        Running {
            vm: vm((*vcpu).kvm),
            vcpu,
            rec: &mut *(*vcpu).arch.rmi.priv_.cast::<RecVcpu>(),
        }
    }
}

/// `KVM_CHECK_EXTENSION(KVM_CAP_ARM_RMI)`: 1, since an RMM is active.
extern "C" fn check_extension(_kvm: *mut bindings::kvm) -> c_int {
    1
}

/// What a realm's VM has of what KVM has.
///
/// # Safety
///
/// See [`vm`].
unsafe extern "C" fn allows_cap(kvm: *mut bindings::kvm, cap: c_long) -> bool {
    // SAFETY: By the contract of this function; parameters are set before the module is initialised.
    let (vm, ours) = unsafe { (vm(kvm), ffi::kvm_rmi_cap) };
    match u32::try_from(cap) {
        Ok(bindings::KVM_CAP_ARM_SVE) => vm.host.negotiated.features.sve(),
        Ok(cap) => cap == ours || ALLOWED_CAPS.contains(&cap),
        Err(_) => false,
    }
}

const ALLOWED_CAPS: &[u32] = &[
    bindings::KVM_CAP_IRQCHIP,
    bindings::KVM_CAP_USER_MEMORY,
    bindings::KVM_CAP_NR_VCPUS,
    bindings::KVM_CAP_NR_MEMSLOTS,
    bindings::KVM_CAP_MP_STATE,
    bindings::KVM_CAP_COALESCED_MMIO,
    bindings::KVM_CAP_SYNC_MMU,
    bindings::KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
    bindings::KVM_CAP_IRQ_ROUTING,
    bindings::KVM_CAP_JOIN_MEMORY_REGIONS_WORKS,
    bindings::KVM_CAP_IRQFD,
    bindings::KVM_CAP_IOEVENTFD,
    bindings::KVM_CAP_INTERNAL_ERROR_DATA,
    bindings::KVM_CAP_VCPU_EVENTS,
    bindings::KVM_CAP_MAX_VCPUS,
    bindings::KVM_CAP_ONE_REG,
    bindings::KVM_CAP_SIGNAL_MSI,
    bindings::KVM_CAP_IRQFD_RESAMPLE,
    bindings::KVM_CAP_ARM_PSCI,
    bindings::KVM_CAP_DEVICE_CTRL,
    bindings::KVM_CAP_ENABLE_CAP_VM,
    bindings::KVM_CAP_ARM_PSCI_0_2,
    bindings::KVM_CAP_CHECK_EXTENSION_VM,
    bindings::KVM_CAP_IOEVENTFD_ANY_LENGTH,
    bindings::KVM_CAP_VCPU_ATTRIBUTES,
    bindings::KVM_CAP_MAX_VCPU_ID,
    bindings::KVM_CAP_MSI_DEVID,
    bindings::KVM_CAP_IMMEDIATE_EXIT,
    bindings::KVM_CAP_ARM_INJECT_EXT_DABT,
    bindings::KVM_CAP_ARM_VM_IPA_SIZE,
    // Without effect, since there is no dirty log; but VMMs enable it for every VM.
    bindings::KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
    bindings::KVM_CAP_ARM_IRQ_LINE_LAYOUT_2,
    bindings::KVM_CAP_ARM_PTRAUTH_ADDRESS,
    bindings::KVM_CAP_ARM_PTRAUTH_GENERIC,
    bindings::KVM_CAP_HALT_POLL,
    bindings::KVM_CAP_BINARY_STATS_FD,
    bindings::KVM_CAP_SYSTEM_EVENT_DATA,
    bindings::KVM_CAP_USER_MEMORY2,
    bindings::KVM_CAP_MEMORY_ATTRIBUTES,
    bindings::KVM_CAP_GUEST_MEMFD,
    bindings::KVM_CAP_GUEST_MEMFD_FLAGS,
];

/// # Safety
///
/// KVM calls this for a VM that it is making, with our table in it.
unsafe extern "C" fn init_vm(kvm: *mut bindings::kvm, ipa_bits: u32) -> c_int {
    // SAFETY: By the contract, the table is that of a `Registration`, which outlives the module's
    // reference that KVM has taken.
    let us = unsafe {
        let ops = (*kvm).arch.rmi.ops;
        &*kernel::container_of!(Opaque::cast_from(ops), Registration, ops)
    };
    // SAFETY: The VM outlives our half of it, which `destroy_vm` takes away.
    let ours = unsafe { Kvm::new(kvm) };
    from_result(|| {
        let vm = Vm::new(us.host.clone(), ours, ipa_bits)?;
        *vm.files.lock() = us.status.show_vm(&vm);
        // SAFETY: The VM is being made.
        unsafe { (*kvm).arch.rmi.realm = Arc::into_raw(vm).cast_mut().cast() };
        Ok(0)
    })
}

/// # Safety
///
/// See [`vm`].
unsafe extern "C" fn flush_vm(kvm: *mut bindings::kvm) {
    // SAFETY: By the contract of this function.
    unsafe { vm(kvm) }.flush();
}

/// # Safety
///
/// See [`vm`]; nobody uses the VM any more.
unsafe extern "C" fn destroy_vm(kvm: *mut bindings::kvm) {
    // SAFETY: By the contract of this function: `init_vm` has put it there.
    let vm = unsafe { Arc::from_raw((*kvm).arch.rmi.realm.cast::<Vm>()) };
    // Nobody else has it any more when these are gone.
    vm.remove_files();
    vm.destroy();
}

/// # Safety
///
/// `vcpu` is a realm's vCPU that nobody uses any more.
unsafe extern "C" fn destroy_vcpu(vcpu: *mut bindings::kvm_vcpu) {
    // SAFETY: By the contract of this function.
    let (kvm, rec) = unsafe { ((*vcpu).kvm, (*vcpu).arch.rmi.priv_.cast::<RecVcpu>()) };
    if rec.is_null() {
        return;
    }
    // SAFETY: `create::activate` has made this; vCPUs go before their VM.
    unsafe { KBox::from_raw(rec).destroy(vm(kvm)) };
}

/// # Safety
///
/// See [`vm`]; `args` is what user space has passed.
unsafe extern "C" fn populate_vm(
    kvm: *mut bindings::kvm,
    args: *mut bindings::kvm_arm_rmi_populate,
) -> c_int {
    // SAFETY: By the contract of this function.
    let vm = unsafe { vm(kvm) };
    from_result(|| populate::ioctl(vm, args.cast()).map(|()| 0))
}

/// # Safety
///
/// `vcpu` is a realm's vCPU, whose mutex this task holds.
unsafe extern "C" fn first_run(vcpu: *mut bindings::kvm_vcpu) -> c_int {
    // SAFETY: By the contract of this function.
    let vm = unsafe { vm((*vcpu).kvm) };
    from_result(|| create::activate(vm, vcpu).map(|()| 0))
}

/// # Safety
///
/// See [`running`].
unsafe extern "C" fn complete(vcpu: *mut bindings::kvm_vcpu) -> c_int {
    // SAFETY: By the contract of this function.
    let mut running = unsafe { running(vcpu) };
    from_result(|| running.complete().map(|()| 1))
}

/// # Safety
///
/// See [`running`].
unsafe extern "C" fn enter(vcpu: *mut bindings::kvm_vcpu, flags: c_ulong) {
    // SAFETY: By the contract of this function.
    unsafe { running(vcpu) }.enter(flags);
}

/// # Safety
///
/// See [`running`].
unsafe extern "C" fn handle_exit(vcpu: *mut bindings::kvm_vcpu) -> c_int {
    // SAFETY: By the contract of this function.
    let mut running = unsafe { running(vcpu) };
    from_result(|| {
        running.exited().map(|next| match next {
            Next::Enter => 1,
            Next::User => 0,
            // CAST: A few small numbers.
            Next::Kvm(what) => what as c_int,
        })
    })
}

/// # Safety
///
/// `vcpu` is a realm's vCPU, whose mutex this task holds; `reg` is valid.
unsafe extern "C" fn may_set_reg(
    vcpu: *mut bindings::kvm_vcpu,
    reg: *const bindings::kvm_one_reg,
) -> c_int {
    // SAFETY: By the contract of this function.
    let result = unsafe { registers::may_set(vm((*vcpu).kvm), vcpu, &*reg) };
    from_result(|| result.map(c_int::from))
}

/// # Safety
///
/// `vcpu` is a realm's vCPU, whose mutex this task holds; `to` is what user space has passed, or
/// null.
unsafe extern "C" fn copy_reg_indices(vcpu: *mut bindings::kvm_vcpu, to: *mut u64) -> c_int {
    // SAFETY: By the contract of this function.
    let has_sve = unsafe { ffi::kvm_rmi_helper_vcpu_sve_vq(vcpu) } != 0;
    from_result(|| registers::copy_indices(has_sve, to.cast()))
}

/// # Safety
///
/// See [`running`]; `mmu_lock` is held for reading.
unsafe extern "C" fn map_shared(
    vcpu: *mut bindings::kvm_vcpu,
    ipa: bindings::phys_addr_t,
    pa: bindings::phys_addr_t,
    size: c_ulong,
    writable: bool,
) -> c_int {
    // SAFETY: By the contract of this function.
    let mut running = unsafe { running(vcpu) };
    let vm = running.vm;
    // SAFETY: As above.
    let lock = unsafe { MmuReadLock::of_kvm(&vm.kvm) };
    from_result(|| {
        running
            .map_shared(ipa, pa, size as u64, writable, &lock)
            .map(|()| 0)
    })
}

/// # Safety
///
/// See [`running`].
unsafe extern "C" fn add_table(vcpu: *mut bindings::kvm_vcpu) -> c_int {
    // SAFETY: By the contract of this function.
    let mut running = unsafe { running(vcpu) };
    from_result(|| running.add_table().map(c_int::from))
}

/// # Safety
///
/// See [`vm`]; `slot` is valid.
unsafe extern "C" fn check_memslot(
    kvm: *mut bindings::kvm,
    slot: *const bindings::kvm_memory_slot,
) -> c_int {
    // SAFETY: By the contract of this function.
    let (vm, slot) = unsafe { (vm(kvm), &*slot) };
    from_result(|| memslot::check(vm, slot).map(|()| 0))
}

/// # Safety
///
/// See [`vm`]; `mmu_lock` is held for writing, nothing else that spins, and may be dropped meanwhile if
/// `may_block`.
unsafe extern "C" fn unmap_range(
    kvm: *mut bindings::kvm,
    start: bindings::gfn_t,
    end: bindings::gfn_t,
    filter: c_uint,
    may_block: bool,
) {
    // SAFETY: By the contract of this function.
    let (vm, mut lock) = unsafe {
        let vm = vm(kvm);
        (vm, MmuWriteLock::of_kvm(&vm.kvm))
    };
    if filter & bindings::kvm_gfn_range_filter_KVM_FILTER_SHARED != 0 {
        unmap::shared(vm, start..end, &mut lock, may_block);
    }
    // Only MMU notifiers must not block, and they are about what is shared: private memory goes when a
    // file of guest_memfd is punched, closed or poisoned, when attributes change, and with a slot.
    if filter & bindings::kvm_gfn_range_filter_KVM_FILTER_PRIVATE != 0 && may_block {
        unmap::private(vm, start..end, &mut lock);
    }
}
