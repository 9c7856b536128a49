// SPDX-License-Identifier: GPL-2.0

//! The operations of the C seam that are about a VM, see [`super::operations`].

use super::kernel::{
    bindings,
    container_of,
    error::from_result,
    ioctl::_IOW,
    prelude::*,
    sync::Arc,
    types::Opaque,
    uaccess::{UserPtr, UserSlice}, //
};
use super::{
    kvm::{Kvm, MmuWriteLock},
    operations::{vm, Ops, Table},
    ops::{AttrOp, Component, Halves},
    platform::CapNumbers,
    slots::NewSlot,
    user::VmAttr, //
};
use crate::uapi::KvmArmRmiPopulate;

// Macros that bindgen does not evaluate.
const KVM_SET_DEVICE_ATTR: c_uint = _IOW::<bindings::kvm_device_attr>(bindings::KVMIO, 0xe1);
const KVM_GET_DEVICE_ATTR: c_uint = _IOW::<bindings::kvm_device_attr>(bindings::KVMIO, 0xe2);

impl<C: Component> Ops<C> {
    /// `KVM_CHECK_EXTENSION`. `KVM_CAP_ARM_RMI` is 1, since an RMM is active. A realm's memory can be
    /// private without attributes of the VM's (`realm/halves.rs`), which is what a VMM wants to know that
    /// asks for those of a file.
    ///
    /// # Safety
    ///
    /// `kvm` is a VM, or null.
    pub(super) unsafe extern "C" fn check_extension(kvm: *mut bindings::kvm, ext: c_long) -> c_int {
        // SAFETY: By the contract of this function, and that of `vm`.
        let ordinary = unsafe { !kvm.is_null() && (*kvm).arch.rmi.ops.is_null() };
        let ours = CapNumbers::get();
        match u32::try_from(ext) {
            Ok(cap) if cap == ours.rmi => 1,
            // CAST: One of the lower bits.
            Ok(cap) if cap == ours.gmem_attributes && !kvm.is_null() && !ordinary => {
                bindings::KVM_MEMORY_ATTRIBUTE_PRIVATE as c_int
            }
            Ok(bindings::KVM_CAP_PRE_FAULT_MEMORY) if !ordinary => 1,
            _ => 0,
        }
    }

    /// What the table that a VM has was registered with.
    ///
    /// # Safety
    ///
    /// `kvm` is a realm's VM, with our table in it.
    unsafe fn table_of<'a>(kvm: *mut bindings::kvm) -> &'a Table<C> {
        // SAFETY: By the contract, the table is in a `Table`, which outlives the module's reference
        // that KVM has taken.
        unsafe {
            let ops = (*kvm).arch.rmi.ops;
            &*container_of!(ops.cast::<Opaque<bindings::kvm_rmi_ops>>(), Table<C>, ops)
        }
    }

    /// # Safety
    ///
    /// See [`vm`].
    pub(super) unsafe extern "C" fn allows_cap(kvm: *mut bindings::kvm, cap: c_long) -> bool {
        // SAFETY: By the contract of this function.
        let (vm, us) = unsafe { (vm::<C>(kvm), Self::table_of(kvm)) };
        let ours = CapNumbers::get();
        match u32::try_from(cap) {
            Ok(bindings::KVM_CAP_ARM_SVE) => vm.has_sve(),
            Ok(bindings::KVM_CAP_ARM_PMU_V3) => vm.has_pmu(),
            Ok(cap) if cap == ours.rmi || cap == ours.gmem_attributes => true,
            Ok(cap) => us.caps.contains(&cap),
            Err(_) => false,
        }
    }

    /// # Safety
    ///
    /// KVM calls this for a VM that it is making, with our table in it.
    pub(super) unsafe extern "C" fn init_vm(kvm: *mut bindings::kvm, ipa_bits: u32) -> c_int {
        // SAFETY: By the contract. The VM outlives our half of it, which `destroy_vm` takes away.
        let (us, ours) = unsafe { (Self::table_of(kvm), Kvm::new(kvm)) };
        from_result(|| {
            let vm = C::init_vm(&us.host, ours, ipa_bits)?;
            // SAFETY: The VM is being made.
            unsafe { (*kvm).arch.rmi.realm = Arc::into_raw(vm).cast_mut().cast() };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// See [`vm`].
    pub(super) unsafe extern "C" fn flush_vm(kvm: *mut bindings::kvm) {
        // SAFETY: By the contract of this function.
        unsafe { vm::<C>(kvm) }.flush();
    }

    /// # Safety
    ///
    /// See [`vm`]; nobody uses the VM any more.
    pub(super) unsafe extern "C" fn destroy_vm(kvm: *mut bindings::kvm) {
        // SAFETY: By the contract of this function: `init_vm` has put it there.
        let vm = unsafe { Arc::from_raw((*kvm).arch.rmi.realm.cast::<C>()) };
        vm.destroy();
    }

    /// # Safety
    ///
    /// See [`vm`]; `attr` is valid.
    pub(super) unsafe extern "C" fn vm_attr(
        kvm: *mut bindings::kvm,
        ioctl: c_uint,
        attr: *const bindings::kvm_device_attr,
    ) -> c_int {
        // SAFETY: By the contract of this function.
        let (vm, attr) = unsafe { (vm::<C>(kvm), VmAttr::of(&*attr)) };
        let op = match ioctl {
            KVM_SET_DEVICE_ATTR => AttrOp::Set,
            KVM_GET_DEVICE_ATTR => AttrOp::Get,
            _ => AttrOp::Has,
        };
        from_result(|| vm.vm_attr(op, &attr).map(|()| 0))
    }

    /// # Safety
    ///
    /// See [`vm`]; `args` is what user space has passed.
    pub(super) unsafe extern "C" fn populate(
        kvm: *mut bindings::kvm,
        args: *mut bindings::kvm_arm_rmi_populate,
    ) -> c_int {
        // SAFETY: By the contract of this function.
        let vm = unsafe { vm::<C>(kvm) };
        from_result(|| {
            let size = size_of::<KvmArmRmiPopulate>();
            let user = UserSlice::new(UserPtr::from_ptr(args.cast()), size);
            let (mut reader, mut writer) = user.reader_writer();
            let mut words = [0u64; 4];
            reader.read_slice(words.as_mut_bytes())?;
            let [base, size, source_uaddr, last] = words;
            let mut args = KvmArmRmiPopulate {
                base,
                size,
                source_uaddr,
                // CAST: The halves of a word, as they lie in memory.
                flags: last as u32,
                reserved: (last >> 32) as u32,
            };
            let result = vm.populate(&mut args);
            // Even after an error: what is done is not to be done again.
            let words = [args.base, args.size, args.source_uaddr];
            writer.write_slice(words.as_bytes())?;
            result.map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// See [`vm`]; `slot` is valid.
    pub(super) unsafe extern "C" fn check_memslot(
        kvm: *mut bindings::kvm,
        slot: *const bindings::kvm_memory_slot,
    ) -> c_int {
        // SAFETY: By the contract of this function.
        let (vm, slot) = unsafe { (vm::<C>(kvm), NewSlot::of(slot)) };
        from_result(|| vm.check_slot(&slot).map(|()| 0))
    }

    /// # Safety
    ///
    /// See [`vm`]; `mmu_lock` is held for writing, nothing else that spins, and may be dropped
    /// meanwhile if `may_block`.
    pub(super) unsafe extern "C" fn unmap(
        kvm: *mut bindings::kvm,
        start: bindings::gfn_t,
        end: bindings::gfn_t,
        filter: c_uint,
        may_block: bool,
    ) -> bool {
        let has = |bit: bindings::kvm_gfn_range_filter| filter & bit != 0;
        let halves = Halves {
            private: has(bindings::kvm_gfn_range_filter_KVM_FILTER_PRIVATE),
            shared: has(bindings::kvm_gfn_range_filter_KVM_FILTER_SHARED),
        };
        // SAFETY: By the contract of this function. The VM stays alive.
        let (vm, kvm) = unsafe { (vm::<C>(kvm), Kvm::new(kvm)) };
        // SAFETY: As above.
        let mut lock = unsafe { MmuWriteLock::of_kvm(&kvm) };
        vm.unmap(start..end, halves, &mut lock, may_block)
    }
}
