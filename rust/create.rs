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
    prelude::*, //
};

/// What a realm is made with that its vCPUs have: it cannot be changed afterwards, though vCPUs may
/// still be initialised then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The SVE vector length in quadwords.
    sve_vq: Option<u64>,
    breakpoints: u64,
    watchpoints: u64,
}

impl Shape {
    /// What the vCPUs that there are have, as far as the RMM has it.
    ///
    /// # Errors
    ///
    /// `EINVAL` for longer vectors than the RMM has.
    fn of(vm: &Vm) -> Result<Self> {
        let features = &vm.host.negotiated.features;
        let dfr0 = views::dfr0(vm.kvm);
        // Until a vCPU is initialised the VM has no ID registers, and wants no less than there is.
        let field = |low: u32| match dfr0 {
            0 => u64::MAX,
            dfr0 => ((dfr0 >> low) & 0xf) + 1,
        };
        let sve_vq = sve_vq(vm);
        if sve_vq.is_some_and(|vq| !features.sve() || vq > features.sve_vq()) {
            return Err(EINVAL);
        }
        Ok(Self {
            sve_vq,
            breakpoints: field(views::DFR0_BRPS).min(features.breakpoints()),
            watchpoints: field(views::DFR0_WRPS).min(features.watchpoints()),
        })
    }
}

/// None becomes New.
///
/// # Errors
///
/// `ENOMEM`, `EINVAL` if the RMM has no hash algorithm that we know or not the SVE that the vCPUs
/// have, or what [`errno`] makes of its answer. The realm is None still.
pub(crate) fn realm(vm: &Vm, life: &mut Life) -> Result {
    let shape = Shape::of(vm)?;
    let params = params(vm, &shape)?;
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
            life.shape = Some(shape);
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

/// What the realm shall be.
///
/// # Errors
///
/// `EINVAL` if the RMM measures in no way that we know.
fn params(vm: &Vm, shape: &Shape) -> Result<Params> {
    let features = &vm.host.negotiated.features;
    Ok(Params {
        s2sz: vm.space.bits(),
        lpa2: vm.space.bits() > 48,
        sve_vq: shape.sve_vq,
        breakpoints: shape.breakpoints,
        watchpoints: shape.watchpoints,
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
/// That takes all vCPUs, locked: what they begin with becomes the RECs'. One that another task has
/// locked is not waited for, since that task may be waiting itself, for user space or for a lock
/// that is held here: everything is given up, and tried again later, until a signal comes.
///
/// But those that are about to run for the first time as well, whose tasks are in here and hold
/// `vcpu->mutex` all the time, are as good as locked: see [`FirstRun`].
///
/// # Errors
///
/// See `uapi/README.md`.
pub(crate) fn activate(vm: &Vm, me: *mut bindings::kvm_vcpu) -> Result {
    // SAFETY: The VM is alive. What is read may change at any time until there is a GIC that is
    // initialised, which stays.
    let (in_kernel, initialized) = unsafe {
        let vgic = &raw const (*vm.kvm).arch.vgic;
        (
            (&raw const (*vgic).in_kernel).read_volatile(),
            (&raw const (*vgic).initialized).read_volatile(),
        )
    };
    if !in_kernel {
        return Err(EOPNOTSUPP);
    }
    if !initialized {
        return Err(ENODEV);
    }
    let _counted = FirstRun::new(vm);
    while !try_activate(vm, me)? {
        if ffi::kvm_rmi_helper_signal_pending() {
            return Err(EINTR);
        }
        views::wait_a_little();
    }
    Ok(())
}

/// A task that is in [`activate`], and counted in [`Life::first_runs`].
struct FirstRun<'a>(&'a Vm);

impl<'a> FirstRun<'a> {
    fn new(vm: &'a Vm) -> Self {
        vm.life.lock().first_runs += 1;
        Self(vm)
    }
}

impl Drop for FirstRun<'_> {
    fn drop(&mut self) {
        self.0.life.lock().first_runs -= 1;
    }
}

/// False if others are at work on vCPUs.
///
/// # Errors
///
/// See `uapi/README.md`.
fn try_activate(vm: &Vm, me: *mut bindings::kvm_vcpu) -> Result<bool> {
    match vm.life.lock().realm.state() {
        State::Active => return ready(me).map(|()| true),
        State::Dying | State::Dead => return Err(EIO),
        State::None | State::New => {}
    }
    let slots = views::SlotsLock::new(vm.kvm)?;
    let others = views::OtherVcpus::try_lock(&slots, me)?;
    let mut life = vm.life.lock();
    if !matches!(life.realm.state(), State::None | State::New) {
        return Ok(false);
    }
    // Who is counted has locked its vCPU, so it is me or one of those that are busy. If there are as
    // many of either they are the same. They can neither come nor go while `life` is held.
    if others.busy() + 1 != life.first_runs {
        return Ok(false);
    }
    check_vcpus(vm, &life)?;
    if life.realm.state() == State::None {
        realm(vm, &mut life)?;
    }
    let name = vm.name()?;
    let vcpus = || (0..views::vcpu_count(vm.kvm)).map(|id| views::vcpu(vm.kvm, id).ok_or(EINVAL));
    // What can fail for want of memory comes before what cannot be taken back.
    for vcpu in vcpus() {
        prepare(vm, vcpu?)?;
    }
    for vcpu in vcpus() {
        rec(vm, &mut life, name, vcpu?)?;
    }
    init_ripas(vm, name)?;
    let rmi = vm.rmi(Pause::Resched);
    let activated = life.realm.activate(&rmi);
    activated.map(|()| true).map_err(|refused| {
        vm.log_death(fmt!("it cannot be activated: {refused:?}"));
        refusal(refused)
    })
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
/// Their numbers have to count from 0, since KVM makes MPIDRs of them, and the RMM takes a REC only
/// if its MPIDR is the next.
///
/// # Errors
///
/// `ENOEXEC` for one that is not initialised, `EPERM` for SVE that is not finalised, `EINVAL` for one
/// without PSCI 0.2 or with another vector length, for numbers that do not count from 0, and if the
/// realm was made with anything else than they have.
fn check_vcpus(vm: &Vm, life: &Life) -> Result {
    let sve = sve_vq(vm);
    for id in 0..views::vcpu_count(vm.kvm) {
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
    let shape = Shape::of(vm)?;
    match life.shape.is_none_or(|made| made == shape) {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

/// Sets aside what a vCPU's REC takes, if it has none. It stays until the vCPU goes.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
fn prepare(vm: &Vm, vcpu: *mut bindings::kvm_vcpu) -> Result {
    // SAFETY: The vCPU is valid, and locked by the caller.
    let ours = unsafe { &mut (*vcpu).arch.rmi.priv_ };
    if ours.is_null() {
        *ours = KBox::into_raw(RecVcpu::new()?).cast();
    }
    // SAFETY: As above; it is a `RecVcpu`.
    unsafe { &mut *ours.cast::<RecVcpu>() }.prepare(vm)
}

/// Makes a vCPU's REC, if it has none, of what [`prepare`] has set aside.
///
/// # Errors
///
/// `EBUSY` if the REC that there is begins with something else than the vCPU now has, `ENOMEM`, or
/// what [`errno`] makes of the RMM's answer.
fn rec(vm: &Vm, life: &mut Life, name: RdName, vcpu: *mut bindings::kvm_vcpu) -> Result {
    // SAFETY: The vCPU is valid, and locked by the caller.
    let begins_with = unsafe { begins_with(vcpu) };
    // SAFETY: As above; `prepare` has put it there.
    let new = unsafe { &mut *(*vcpu).arch.rmi.priv_.cast::<RecVcpu>() };
    let Some(mut parts) = new.parts.take() else {
        return match new.begins_with == Some(begins_with) {
            true => Ok(()),
            false => Err(EBUSY),
        };
    };
    let rmi = vm.rmi(Pause::Resched);
    let (granule, page) = (parts.granule, &mut parts.page);
    let list = &mut life.list;
    match cmd::create(&rmi, name, granule, &begins_with, page, &HostPages, list) {
        Ok(rec) => {
            // SAFETY: As above. The page lives as long as what it is in, which `priv_` owns.
            unsafe {
                let arch = &raw mut (*vcpu).arch.rmi;
                (*arch).run = new.run.address();
                (*arch).run_pa = crate::rmi::SharedPage::pa(&new.run).raw();
                (*arch).rec = rec.name().raw();
            }
            new.rec = Some(rec);
            new.begins_with = Some(begins_with);
            vm.recs.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Err(failed) => {
            failed.granules.into_iter().for_each(|left| vm.free(left));
            Err(errno(failed.error))
        }
    }
}

/// What a vCPU's REC has to begin with.
///
/// # Safety
///
/// `vcpu` is valid, and locked by the caller.
unsafe fn begins_with(vcpu: *mut bindings::kvm_vcpu) -> cmd::Params {
    let mut gprs = [0; 8];
    // SAFETY: By the contract of this function nobody changes the registers.
    unsafe {
        let regs = &raw const (*vcpu).arch.ctxt.regs;
        for (n, gpr) in gprs.iter_mut().enumerate() {
            *gpr = (*regs).regs[n];
        }
        cmd::Params {
            runnable: !views::is_stopped(vcpu),
            mpidr: ffi::kvm_rmi_helper_vcpu_mpidr_aff(vcpu),
            pc: (*regs).pc,
            gprs,
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
