// SPDX-License-Identifier: GPL-2.0

//! From a VM to a realm that runs: its descriptor, its RECs, its memory's first RIPAS, activation.

use crate::{
    ffi,
    host::errno,
    memory::{HostPages, RmmBuffer},
    mmu::{self, Step},
    realm::{Refused, State},
    rmi::{
        cmd::{
            realm::{HashAlgorithm, Params, RdName, RealmGranules},
            rec as cmd, //
        },
        Features,
        IpaRange,
        Protected,
        GRANULE_SIZE, //
    },
    smccc::Pause,
    vcpu::RecVcpu,
    views,
    vm::{Life, Vm}, //
};
use core::sync::atomic::Ordering;
use kernel::{
    bindings,
    prelude::*,
    types::ScopeGuard, //
};

/// None becomes New.
///
/// # Errors
///
/// `ENOMEM`, `EINVAL` if the RMM has no hash algorithm that we know, or what [`errno`] makes of its
/// answer. The realm is None still.
pub(crate) fn realm(vm: &Vm, life: &mut Life) -> Result {
    let params = params(vm)?;
    let mut page = RmmBuffer::new()?;
    let rd = vm.alloc_delegated(0)?;
    let roots = match vm.alloc_delegated(vm.layout.order) {
        Ok(roots) => roots,
        Err(error) => {
            vm.free(rd);
            return Err(error);
        }
    };
    let rmi = vm.rmi(Pause::Resched);
    let granules = RealmGranules { rd, roots };
    let list = &mut life.list;
    let created = life
        .realm
        .create(&rmi, granules, &params, &mut page, (&HostPages, list));
    match created {
        Ok(()) => {
            life.realm.name().map(|name| vm.name.populate(name));
            Ok(())
        }
        Err((refused, granules)) => {
            if let Some(granules) = granules {
                vm.free(granules.rd);
                vm.free(granules.roots);
            }
            Err(refusal(refused))
        }
    }
}

fn refusal(refused: Refused) -> Error {
    match refused {
        Refused::Rmm(error) => errno(error),
        Refused::State(_) => EIO,
    }
}

/// What the realm shall be: what the VM asks for, as far as the RMM has it.
///
/// # Errors
///
/// `EINVAL` if the RMM measures in no way that we know.
fn params(vm: &Vm) -> Result<Params> {
    let features = &vm.host.negotiated.features;
    // SAFETY: The VM is alive. An ID register may change at this very moment, which is either before
    // or after.
    let dfr0 = unsafe { (*vm.kvm).arch.id_regs[views::DFR0] };
    // Until a vCPU is initialised the VM has no ID registers, and wants no less than there is.
    let field = |low: u32| match dfr0 {
        0 => u64::MAX,
        dfr0 => ((dfr0 >> low) & 0xf) + 1,
    };
    Ok(Params {
        s2sz: vm.space.bits(),
        lpa2: vm.space.bits() > 48,
        sve_vq: sve_vq(vm),
        breakpoints: field(views::DFR0_BRPS).min(features.breakpoints()),
        watchpoints: field(views::DFR0_WRPS).min(features.watchpoints()),
        pmu_counters: None,
        hash: hash(features).ok_or(EINVAL)?,
        rpv: [0; 8],
        rtt_level_start: vm.layout.start.raw() as i64,
    })
}

fn hash(features: &Features) -> Option<HashAlgorithm> {
    let known = [
        (features.sha256(), HashAlgorithm::Sha256),
        (features.sha512(), HashAlgorithm::Sha512),
        (features.sha384(), HashAlgorithm::Sha384),
    ];
    known
        .into_iter()
        .find_map(|(there, hash)| there.then_some(hash))
}

/// The SVE vector that vCPU 0 has.
fn sve_vq(vm: &Vm) -> Option<u64> {
    let vcpu = views::vcpu(vm.kvm, 0)?;
    // SAFETY: The vCPU is valid as long as the VM.
    match unsafe { ffi::kvm_rmi_helper_vcpu_sve_vq(vcpu) } {
        0 => None,
        vq => Some(vq.into()),
    }
}

/// A vCPU is about to run: the realm is made what it takes to be Active. May be repeated when it has
/// failed.
///
/// # Errors
///
/// See `uapi/README.md`.
pub(crate) fn activate(vm: &Vm, me: *mut bindings::kvm_vcpu) -> Result {
    // SAFETY: The VM is alive.
    let vgic = unsafe { &(*vm.kvm).arch.vgic };
    if !vgic.in_kernel {
        return Err(EOPNOTSUPP);
    }
    if !vgic.initialized {
        return Err(ENODEV);
    }
    vm.waiting.fetch_add(1, Ordering::Relaxed);
    let _waiting = ScopeGuard::new(|| {
        vm.waiting.fetch_sub(1, Ordering::Relaxed);
    });
    let _slots = views::SlotsLock::new(vm.kvm);
    let mut life = vm.life.lock();
    match life.realm.state() {
        State::Active => return ready(me),
        State::Dying | State::Dead => return Err(EIO),
        State::None | State::New => {}
    }
    let _others = views::OtherVcpus::lock(vm.kvm, me, &vm.waiting)?;
    check_vcpus(vm)?;
    // CAST: Not negative. There will be no more, since the interrupt controller is there.
    vm.ending.set_vcpus(views::vcpus(vm.kvm) as usize)?;
    if life.realm.state() == State::None {
        realm(vm, &mut life)?;
    }
    let name = vm.name()?;
    for id in 0..views::vcpus(vm.kvm) {
        let vcpu = views::vcpu(vm.kvm, id).ok_or(EINVAL)?;
        rec(vm, &mut life, name, vcpu)?;
    }
    init_ripas(vm, name)?;
    let rmi = vm.rmi(Pause::Resched);
    life.realm.activate(&rmi).map_err(refusal)
}

/// # Errors
///
/// `EIO` if the vCPU was added when it was too late.
fn ready(vcpu: *mut bindings::kvm_vcpu) -> Result {
    // SAFETY: The vCPU is valid; its REC does not change once it is there.
    match unsafe { (*vcpu).arch.rmi.rec } {
        0 => Err(EIO),
        _ => Ok(()),
    }
}

/// Looks at every vCPU before anything is made.
///
/// # Errors
///
/// `ENOEXEC` for one that is not initialised, `EPERM` for SVE that is not finalised, `EINVAL` for one
/// without PSCI 0.2 or with another vector length, and for numbers that do not count from 0.
fn check_vcpus(vm: &Vm) -> Result {
    let sve = sve_vq(vm);
    for id in 0..views::vcpus(vm.kvm) {
        let vcpu = views::vcpu(vm.kvm, id).ok_or(EINVAL)?;
        // SAFETY: The vCPU is valid as long as the VM.
        unsafe {
            if !ffi::kvm_rmi_helper_vcpu_is_initialized(vcpu) {
                return Err(ENOEXEC);
            }
            if !ffi::kvm_rmi_helper_vcpu_is_finalized(vcpu) {
                return Err(EPERM);
            }
            let vq = u64::from(ffi::kvm_rmi_helper_vcpu_sve_vq(vcpu));
            if !ffi::kvm_rmi_helper_vcpu_has_psci_0_2(vcpu) || vq != sve.unwrap_or(0) {
                return Err(EINVAL);
            }
        }
    }
    Ok(())
}

/// Makes a vCPU's REC, if it has none.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
fn rec(vm: &Vm, life: &mut Life, name: RdName, vcpu: *mut bindings::kvm_vcpu) -> Result {
    // SAFETY: The vCPU is valid, and locked by the caller.
    let (params, arch) = unsafe {
        let arch = &raw mut (*vcpu).arch;
        let regs = &(*arch).ctxt.regs;
        let mut gprs = [0; 8];
        gprs.copy_from_slice(&regs.regs[..8]);
        let params = cmd::Params {
            runnable: !views::is_stopped(vcpu),
            mpidr: ffi::kvm_rmi_helper_vcpu_mpidr_aff(vcpu),
            pc: regs.pc,
            gprs,
        };
        (params, arch)
    };
    // SAFETY: As above.
    if unsafe { (*arch).rmi.rec } != 0 {
        return Ok(());
    }
    let mut new = RecVcpu::new()?;
    let mut page = RmmBuffer::new()?;
    let granule = vm.alloc_delegated(0)?;
    let rmi = vm.rmi(Pause::Resched);
    let list = &mut life.list;
    match cmd::create(&rmi, name, granule, &params, &mut page, &HostPages, list) {
        Ok(rec) => {
            // SAFETY: As above. The page lives as long as what it is in, which `priv_` owns.
            unsafe {
                (*arch).rmi.run = new.run.address();
                (*arch).rmi.run_pa = crate::rmi::SharedPage::pa(&new.run).raw();
                (*arch).rmi.rec = rec.name().raw();
            }
            new.rec = Some(rec);
            let new = KBox::into_raw(new);
            // SAFETY: As above.
            unsafe { (*arch).rmi.priv_ = new.cast() };
            vm.recs.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Err(failed) => {
            failed.granules.into_iter().for_each(|left| vm.free(left));
            Err(errno(failed.error))
        }
    }
}

/// Declares the memory of all guest_memfd slots to be RAM.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
fn init_ripas(vm: &Vm, name: RdName) -> Result {
    views::for_each_gmem_slot(vm.kvm, |gfns| {
        let mut left = vm
            .space
            .protected(gfns.start * GRANULE_SIZE, gfns.end * GRANULE_SIZE);
        while let Some(range) = left {
            left = init_ripas_step(vm, name, range)?;
        }
        Ok(())
    })
}

/// # Errors
///
/// As for [`init_ripas`].
fn init_ripas_step(
    vm: &Vm,
    name: RdName,
    range: IpaRange<Protected>,
) -> Result<Option<IpaRange<Protected>>> {
    let rmi = vm.rmi(Pause::Resched);
    match mmu::init_ripas(&rmi, name, &vm.tables(), range) {
        Step::Done => Ok(None),
        Step::Until(at) => Ok(range.from(at)),
        Step::NeedTable(at, table) => {
            vm.make_table(table)?;
            Ok(range.from(at))
        }
        Step::Failed(_, error) => Err(errno(error)),
    }
}
