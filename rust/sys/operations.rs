// SPDX-License-Identifier: GPL-2.0

//! The operations of the C seam (`struct kvm_rmi_ops`), for a [`Component`]: each turns KVM's pointers
//! into what the component works on, and its results into what KVM wants.

use super::kernel::{
    bindings,
    error::from_result,
    prelude::*,
    sync::Arc,
    types::Opaque,
    uaccess::{UserPtr, UserSlice}, //
};
use super::{
    ffi,
    kvm::{Kvm, MmuReadLock},
    ops::{Component, Entry, Next, Settings, Shared},
    platform::CapNumbers,
    user::OneReg,
    vcpu::{Held, Locked}, //
};
use crate::{
    exit::reason,
    rmi::{run::offset, Fid},
    uapi::KvmArmRmiPopulate, //
};
use core::marker::PhantomData;

// What the C seam knows of the RMI as well.
const _: () = {
    assert!(bindings::KVM_RMI_SMC_REC_ENTER == Fid::REC_ENTER.raw());
    assert!(bindings::KVM_RMI_RUN_EXIT_REASON as usize == offset::EXIT_REASON);
    assert!(bindings::KVM_RMI_EXIT_REASON_SYNC as u8 == reason::SYNC);
    assert!(bindings::KVM_RMI_EXIT_REASON_IRQ as u8 == reason::IRQ);
    assert!(bindings::KVM_RMI_EXIT_REASON_FIQ as u8 == reason::FIQ);
    assert!(bindings::KVM_RMI_EXIT_REASON_SERROR as u8 == reason::SERROR);
};

// `Next` has KVM's numbers.
const _: () = {
    assert!(Next::Trap as u32 == bindings::kvm_rmi_exit_KVM_RMI_EXIT_TRAP);
    assert!(Next::Psci as u32 == bindings::kvm_rmi_exit_KVM_RMI_EXIT_PSCI);
    assert!(Next::Hypercall as u32 == bindings::kvm_rmi_exit_KVM_RMI_EXIT_HYPERCALL);
    assert!(Next::Complete as u32 == bindings::kvm_rmi_exit_KVM_RMI_EXIT_COMPLETE);
    assert!(Next::Off as u32 == bindings::kvm_rmi_exit_KVM_RMI_EXIT_OFF);
};

// What is compiled twice knows the ABI from its own mirror.
const _: () = assert!(
    size_of::<KvmArmRmiPopulate>() == size_of::<bindings::kvm_arm_rmi_populate>()
        && crate::uapi::KVM_ARM_RMI_POPULATE_FLAGS_MEASURE
            == bindings::KVM_ARM_RMI_POPULATE_FLAGS_MEASURE
);

/// The VM type that some VMMs make realms with.
const VM_TYPE_ALIAS: c_ulong = 1 << 8;

/// The operations' table, where it stays.
#[repr(C)]
pub(super) struct Table<C: Component> {
    pub(super) ops: Opaque<bindings::kvm_rmi_ops>,
    pub(super) host: Arc<C::Host>,
    pub(super) caps: &'static [u32],
}

/// A VM of the component's.
///
/// # Safety
///
/// `kvm` is a realm's VM that is alive for `'a`, of this component's, and not destroyed by it.
pub(super) unsafe fn vm<'a, C>(kvm: *mut bindings::kvm) -> &'a C {
    // SAFETY: By the contract, `init_vm` has put a `C` there, which `destroy_vm` will take away.
    unsafe { &*(*kvm).arch.rmi.realm.cast() }
}

/// A vCPU that this task runs, and its VM.
///
/// # Safety
///
/// `vcpu` is a realm's vCPU of this component's; this task holds its mutex for `'a`, and this is the
/// only one that there is.
unsafe fn held<'a, C: Component>(vcpu: *mut bindings::kvm_vcpu) -> (&'a C, Held<'a, C::Vcpu>) {
    // SAFETY: By the contract. What we keep for vCPUs is a `C::Vcpu`.
    unsafe { (vm((*vcpu).kvm), Held::new(vcpu)) }
}

/// What KVM has to do next with a vCPU, by what `decide` says, or an error.
///
/// # Safety
///
/// See [`held`]; the vCPU has a REC.
#[inline]
unsafe fn next<C: Component>(
    vcpu: *mut bindings::kvm_vcpu,
    decide: impl FnOnce(&C, &mut Locked<'_>, &mut C::Vcpu) -> Result<Next>,
) -> c_int {
    // SAFETY: By the contract of this function.
    let (vm, mut held) = unsafe { held::<C>(vcpu) };
    let (vcpu, data) = held.split();
    from_result(|| {
        let data = data.as_mut().ok_or(EIO)?;
        // CAST: Its numbers are KVM's, see above.
        decide(vm, vcpu, data).map(|next| next as c_int)
    })
}

/// The operations, in the order of the table.
pub(super) struct Ops<C>(PhantomData<C>);

impl<C: Component> Ops<C> {
    pub(super) fn table(module: &'static ThisModule, settings: &Settings) -> bindings::kvm_rmi_ops {
        let mut vcpu_features = (1 << bindings::KVM_ARM_VCPU_PSCI_0_2)
            | (1 << bindings::KVM_ARM_VCPU_PTRAUTH_ADDRESS)
            | (1 << bindings::KVM_ARM_VCPU_PTRAUTH_GENERIC);
        if settings.sve_max_vl != 0 {
            vcpu_features |= 1 << bindings::KVM_ARM_VCPU_SVE;
        }
        if settings.pmu_counters.is_some() {
            vcpu_features |= 1 << bindings::KVM_ARM_VCPU_PMU_V3;
        }
        bindings::kvm_rmi_ops {
            owner: module.as_ptr(),
            cap: CapNumbers::get().rmi,
            // SAFETY: Parameters are set before the module is initialised.
            vm_type_alias: match unsafe { ffi::kvm_rmi_vm_type_alias } {
                true => VM_TYPE_ALIAS,
                false => 0,
            },
            ipa_limit: settings.ipa_limit,
            sve_max_vl: settings.sve_max_vl,
            max_brps: settings.breakpoints - 1,
            max_wrps: settings.watchpoints - 1,
            max_pmu_counters: settings.pmu_counters.unwrap_or(0),
            nr_lrs: settings.list_registers,
            vcpu_features,
            check_extension: Some(Self::check_extension),
            allows_cap: Some(Self::allows_cap),
            init_vm: Some(Self::init_vm),
            flush_vm: Some(Self::flush_vm),
            destroy_vm: Some(Self::destroy_vm),
            destroy_vcpu: Some(Self::destroy_vcpu),
            vm_attr: Some(Self::vm_attr),
            populate: Some(Self::populate),
            pre_fault: Some(Self::pre_fault),
            first_run: Some(Self::first_run),
            complete: Some(Self::complete),
            memory_failed: Some(Self::memory_failed),
            enter: Some(Self::enter),
            handle_exit: Some(Self::handle_exit),
            may_set_reg: Some(Self::may_set_reg),
            copy_reg_indices: Some(Self::copy_reg_indices),
            map_shared: Some(Self::map_shared),
            add_table: Some(Self::add_table),
            check_memslot: Some(Self::check_memslot),
            unmap: Some(Self::unmap),
        }
    }

    /// # Safety
    ///
    /// `vcpu` is a realm's vCPU that nobody uses any more.
    unsafe extern "C" fn destroy_vcpu(vcpu: *mut bindings::kvm_vcpu) {
        // SAFETY: By the contract of this function; vCPUs go before their VM.
        let (vm, mut held) = unsafe { held::<C>(vcpu) };
        if let Some(data) = held.split().1.take() {
            vm.destroy_vcpu(data);
        }
    }

    /// # Safety
    ///
    /// See [`held`].
    unsafe extern "C" fn pre_fault(vcpu: *mut bindings::kvm_vcpu, gpa: u64, size: u64) -> c_long {
        // SAFETY: By the contract of this function.
        let (vm, mut held) = unsafe { held::<C>(vcpu) };
        match vm.pre_fault(&mut held, gpa..gpa + size) {
            // CAST: No more than is mapped at once.
            Ok(bytes) => bytes as c_long,
            // CAST: It grows.
            Err(error) => error.to_errno() as c_long,
        }
    }

    /// # Safety
    ///
    /// See [`held`].
    unsafe extern "C" fn first_run(vcpu: *mut bindings::kvm_vcpu) -> c_int {
        // SAFETY: By the contract of this function.
        let (vm, mut held) = unsafe { held::<C>(vcpu) };
        from_result(|| vm.first_run(&mut held).map(|()| 0))
    }

    /// # Safety
    ///
    /// See [`held`]; the vCPU has a REC.
    unsafe extern "C" fn complete(vcpu: *mut bindings::kvm_vcpu) -> c_int {
        // SAFETY: By the contract of this function.
        unsafe { next(vcpu, C::complete) }
    }

    /// # Safety
    ///
    /// See [`held`]; the vCPU has a REC.
    unsafe extern "C" fn memory_failed(vcpu: *mut bindings::kvm_vcpu) -> c_int {
        // SAFETY: By the contract of this function.
        unsafe { next::<C>(vcpu, |vm, vcpu, data| Ok(vm.memory_failed(vcpu, data))) }
    }

    /// # Safety
    ///
    /// See [`held`]; the vCPU has a REC.
    unsafe extern "C" fn enter(vcpu: *mut bindings::kvm_vcpu, flags: c_ulong) {
        let has = |bit: bindings::kvm_rmi_entry| flags & bit as c_ulong != 0;
        let entry = Entry {
            pc_advanced: has(bindings::kvm_rmi_entry_KVM_RMI_ENTRY_PC_ADVANCED),
            external_abort: has(bindings::kvm_rmi_entry_KVM_RMI_ENTRY_SEA_PENDING),
        };
        // SAFETY: By the contract of this function.
        let (vm, mut held) = unsafe { held::<C>(vcpu) };
        let (vcpu, data) = held.split();
        if let Some(data) = data {
            vm.enter(vcpu, data, entry);
        }
    }

    /// # Safety
    ///
    /// See [`held`]; the vCPU has a REC.
    unsafe extern "C" fn handle_exit(vcpu: *mut bindings::kvm_vcpu) -> c_int {
        // SAFETY: By the contract of this function.
        unsafe { next(vcpu, C::handle_exit) }
    }

    /// # Safety
    ///
    /// See [`held`]; `reg` is valid.
    unsafe extern "C" fn may_set_reg(
        vcpu: *mut bindings::kvm_vcpu,
        reg: *const bindings::kvm_one_reg,
    ) -> c_int {
        // SAFETY: By the contract of this function.
        let ((vm, mut held), reg) = unsafe { (held::<C>(vcpu), OneReg::of(&*reg)) };
        from_result(|| vm.may_set_reg(&mut held, &reg).map(c_int::from))
    }

    /// # Safety
    ///
    /// See [`held`]; `to` is what user space has passed, or null.
    unsafe extern "C" fn copy_reg_indices(vcpu: *mut bindings::kvm_vcpu, to: *mut u64) -> c_int {
        // SAFETY: By the contract of this function.
        let (vm, mut held) = unsafe { held::<C>(vcpu) };
        from_result(|| {
            let mut count = 0;
            while let Some(id) = vm.listed_reg(&mut held, count) {
                if !to.is_null() {
                    let to = UserPtr::from_addr(to.addr() + count * size_of::<u64>());
                    UserSlice::new(to, size_of::<u64>()).writer().write(&id)?;
                }
                count += 1;
            }
            // CAST: A few.
            Ok(count as c_int)
        })
    }

    /// # Safety
    ///
    /// See [`held`]; the vCPU has a REC, and `mmu_lock` is held for reading.
    unsafe extern "C" fn map_shared(
        vcpu: *mut bindings::kvm_vcpu,
        ipa: bindings::phys_addr_t,
        pa: bindings::phys_addr_t,
        size: c_ulong,
        writable: bool,
    ) -> c_int {
        // SAFETY: By the contract of this function. The VM stays alive.
        let (vm, mut held, kvm) = unsafe {
            let (vm, held) = held::<C>(vcpu);
            (vm, held, Kvm::new((*vcpu).kvm))
        };
        // SAFETY: As above.
        let lock = unsafe { MmuReadLock::of_kvm(&kvm) };
        let (vcpu, data) = held.split();
        from_result(|| {
            let data = data.as_mut().ok_or(EIO)?;
            let memory = Shared {
                ipa,
                pa,
                size: size as u64,
                writable,
            };
            vm.map_shared(vcpu, data, memory, &lock).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// See [`held`]; the vCPU has a REC.
    unsafe extern "C" fn add_table(vcpu: *mut bindings::kvm_vcpu) -> c_int {
        // SAFETY: By the contract of this function.
        let (vm, mut held) = unsafe { held::<C>(vcpu) };
        from_result(|| {
            let data = held.split().1.as_mut().ok_or(EIO)?;
            vm.make_room(data).map(c_int::from)
        })
    }
}
