// SPDX-License-Identifier: GPL-2.0

//! KVM's half of a VM: what its C does around the component's operations, in the same order.

use super::{
    gmem::Gmem,
    guest::Guest,
    kvm::{Kvm, MmuReadLock, MmuWriteLock},
    machine::machine,
    mm::{Mm, Notifier},
    ops::{AttrOp, Component, Entry, Halves, Next, Shared},
    prelude::*,
    slots::{NewSlot, SlotState, Slots, SlotsLock},
    user::{OneReg, VmAttr},
    vcpu::{Exit, Held, Lacks, Locked, VcpuState},
};
use crate::rmi::{Fid, Regs, GRANULE_SIZE};
use crate::uapi::KvmArmRmiPopulate;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use std::ops::Range;
use std::sync::Arc as StdArc;

/// A VM.
pub struct Vm<C: Component>(StdArc<Inner<C>>);

pub(super) struct Inner<C: Component> {
    kvm: Kvm,
    ours: Arc<C>,
    mm: StdArc<Mm>,
    ran: AtomicBool,
    /// `kvm->arch.rmi.kept`
    kept: AtomicBool,
}

impl<C: Component> Clone for Vm<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Bytes of a huge page.
const HUGE: u64 = 2 << 20;

const BOTH: Halves = Halves {
    private: true,
    shared: true,
};

const PRIVATE: Halves = Halves {
    private: true,
    shared: false,
};

impl<C: Component> Vm<C> {
    /// `KVM_CREATE_VM`, by a process with that address space.
    ///
    /// # Errors
    ///
    /// The component's.
    pub fn new(host: &Arc<C::Host>, mm: &StdArc<Mm>, ipa_bits: u32) -> Result<Self> {
        let kvm = Kvm::new();
        let vm = StdArc::new(Inner {
            ours: C::init_vm(host, kvm.clone(), ipa_bits)?,
            kvm,
            mm: mm.clone(),
            ran: AtomicBool::new(false),
            kept: AtomicBool::new(false),
        });
        let notifier: StdArc<dyn Notifier> = vm.clone();
        mm.register(&notifier);
        Ok(Self(vm))
    }

    /// `KVM_CREATE_VCPU`.
    pub fn add_vcpu(&self, id: u32) {
        let mut vcpus = self.0.kvm.0.vcpus.write().unwrap();
        let index = vcpus.len();
        vcpus.push(StdArc::new(VcpuState::new(id, index)));
    }

    /// `KVM_SET_USER_MEMORY_REGION2`: a slot.
    ///
    /// # Errors
    ///
    /// The component's.
    pub fn add_slot(
        &self,
        gfns: Range<u64>,
        hva: u64,
        gmem: Option<(&StdArc<Gmem>, u64)>,
    ) -> Result {
        let slots = SlotsLock::new(&self.0.kvm)?;
        self.0.ours.check_slot(&NewSlot {
            first: gfns.start,
            granules: gfns.end - gfns.start,
            read_only: false,
            gmem_only: false,
        })?;
        let notifier: StdArc<dyn Notifier> = self.0.clone();
        if let Some((file, _)) = gmem {
            file.bind(&notifier);
        }
        let gmem = gmem.map(|(file, first)| (file.clone(), first));
        slots.replace(|all| {
            all.push(SlotState {
                gfns,
                hva,
                gmem,
                invalid: false,
            });
        });
        Ok(())
    }

    /// The same with no size: the slot that begins at `first` goes.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    pub fn delete_slot(&self, first: u64) -> Result {
        let kvm = &self.0.kvm;
        let slots = SlotsLock::new(kvm)?;
        let mut gfns = 0..0;
        slots.replace(|all| {
            for slot in all.iter_mut().filter(|slot| slot.gfns.start == first) {
                slot.invalid = true;
                gfns = slot.gfns.clone();
            }
        });
        let mut lock = MmuWriteLock::new(kvm);
        self.0.unmap(&gfns, BOTH, &mut lock, true);
        drop(lock);
        // `kvm_gmem_unbind()`
        let all = kvm.0.slots.lock().unwrap().clone();
        for slot in all.iter().filter(|slot| slot.gfns == gfns) {
            let size = slot.gfns.end - slot.gfns.start;
            slot.gmem
                .iter()
                .for_each(|(file, page)| file.keep(*page..page + size));
        }
        drop(all);
        slots.replace(|all| all.retain(|slot| slot.gfns.start != first));
        Ok(())
    }

    /// `KVM_SET_MEMORY_ATTRIBUTES`.
    ///
    /// # Errors
    ///
    /// `EINTR`.
    pub fn set_private(&self, gfns: Range<u64>, private: bool) -> Result {
        let kvm = &self.0.kvm;
        let _slots = SlotsLock::new(kvm)?;
        let halves = Halves {
            private: !private,
            shared: private,
        };
        self.0.begin(&gfns, halves, true);
        kvm.set_private(&gfns, private);
        self.0.end();
        Ok(())
    }

    /// An attribute of the VM, of the group `KVM_ARM_VM_RMI_CTRL`.
    ///
    /// # Errors
    ///
    /// The component's.
    pub fn attr(&self, op: AttrOp, attr: &VmAttr) -> Result {
        self.0.ours.vm_attr(op, attr)
    }

    /// `KVM_ARM_RMI_POPULATE`.
    ///
    /// # Errors
    ///
    /// The component's, or that the VM is dead.
    pub fn populate(&self, args: &mut KvmArmRmiPopulate) -> Result {
        match self.0.kvm.is_dead() {
            true => Err(EIO),
            false => self.0.ours.populate(args),
        }
    }

    /// `KVM_PRE_FAULT_MEMORY` of a vCPU.
    ///
    /// # Errors
    ///
    /// The component's, if nothing was done, or that the VM is dead.
    pub fn pre_fault(&self, n: usize, ipas: Range<u64>) -> Result {
        self.with_vcpu(n, |vm, vcpu| {
            let mut from = ipas.start;
            while from < ipas.end {
                if vm.kvm.is_dead() {
                    return Err(EIO);
                }
                let mut held = Held::new(vcpu.clone());
                match vm.ours.pre_fault(&mut held, from..ipas.end) {
                    Ok(bytes) => {
                        assert!(bytes != 0, "KVM warns of this");
                        assert!(bytes % GRANULE_SIZE == 0, "KVM goes on in a page");
                        from += bytes;
                    }
                    Err(error) => {
                        assert!(error != EIO, "KVM warns of this");
                        return if from == ipas.start {
                            Err(error)
                        } else {
                            Ok(())
                        };
                    }
                }
            }
            Ok(())
        })
    }

    /// `KVM_SET_ONE_REG`, as far as it is the component's business.
    ///
    /// # Errors
    ///
    /// The component's.
    pub fn may_set_reg(&self, n: usize, reg: &OneReg) -> Result<bool> {
        self.with_vcpu(n, |vm, vcpu| {
            vm.ours.may_set_reg(&mut Held::new(vcpu.clone()), reg)
        })
    }

    /// `KVM_SET_ONE_REG` of ID_AA64DFR0_EL1, once.
    pub fn set_id_aa64dfr0(&self, value: u64) {
        self.0.kvm.0.id_aa64dfr0.set(value).expect("it is set once");
    }

    /// `KVM_ARM_VCPU_INIT` and `KVM_ARM_VCPU_FINALIZE`, without what it `lacks`.
    pub fn init(&self, n: usize, lacks: Option<Lacks>) {
        let lacks = lacks.map_or(0, |lacks| lacks as u64);
        self.with_vcpu(n, |_, vcpu| vcpu.lacks.store(lacks, Ordering::SeqCst));
    }

    /// `KVM_ARM_VCPU_INIT` with SVE vectors of so many quadwords.
    pub fn init_sve(&self, n: usize, vq: u64) {
        self.with_vcpu(n, |_, vcpu| vcpu.sve_vq.store(vq, Ordering::SeqCst));
    }

    /// `KVM_ARM_VCPU_INIT` of all vCPUs with a PMU of so many event counters, or `KVM_SET_ONE_REG` of
    /// PMCR_EL0.
    pub fn init_pmu(&self, counters: u64) {
        let pmu = counters + 1;
        self.0.kvm.0.pmu.store(pmu, Ordering::SeqCst);
        for vcpu in self.0.kvm.0.vcpus.read().unwrap().iter() {
            vcpu.pmu.store(pmu, Ordering::SeqCst);
        }
    }

    /// `KVM_GET_REG_LIST`: the number of the `place`th register that may be set.
    pub fn listed_reg(&self, n: usize, place: usize) -> Option<u64> {
        self.with_vcpu(n, |vm, vcpu| {
            vm.ours.listed_reg(&mut Held::new(vcpu.clone()), place)
        })
    }

    /// Whether there may be such a slot.
    ///
    /// # Errors
    ///
    /// The component's.
    pub fn check_slot(&self, slot: &NewSlot) -> Result {
        self.0.ours.check_slot(slot)
    }

    /// Does something that takes a vCPU's mutex, as ioctls do, and for as long as `f` likes.
    pub fn with_mutex<R>(&self, n: usize, f: impl FnOnce() -> R) -> R {
        self.with_vcpu(n, |_, _| f())
    }

    pub(super) fn with_vcpu<R>(
        &self,
        n: usize,
        f: impl FnOnce(&Inner<C>, &StdArc<VcpuState>) -> R,
    ) -> R {
        let vcpu = self.0.kvm.0.vcpus.read().unwrap()[n].clone();
        vcpu.lock();
        let result = f(&self.0, &vcpu);
        vcpu.unlock();
        result
    }

    /// `KVM_RUN`, until the guest has done all that it has to do or user space is needed.
    ///
    /// # Errors
    ///
    /// The component's, with what `kvm_run` has; or that the VM is dead.
    pub fn run(&self, n: usize, guest: &mut Guest) -> Result<Exit, (Error, Exit)> {
        self.with_vcpu(n, |vm, vcpu| {
            let mut held = Held::<C::Vcpu>::new(vcpu.clone());
            held.split().0.regs().exit = Exit::None;
            let result = vm.run(&mut held, guest);
            let exit = held.split().0.regs().exit;
            result.map(|()| exit).map_err(|error| (error, exit))
        })
    }

    /// The cause of the memory fault that a vCPU has ended with, of `KVM_ARM_RMI_FAULT_*`.
    pub fn fault_cause(&self, n: usize) -> u64 {
        self.with_vcpu(n, |_, vcpu| {
            Held::<C::Vcpu>::new(vcpu.clone())
                .split()
                .0
                .regs()
                .fault_cause
        })
    }

    /// The answer to it.
    pub fn answer_fault(&self, n: usize, answer: u64) {
        self.with_vcpu(n, |_, vcpu| {
            Held::<C::Vcpu>::new(vcpu.clone())
                .split()
                .0
                .regs()
                .fault_answer = answer;
        });
    }

    /// The vCPUs that wait to be turned on stop waiting.
    pub fn stop(&self) {
        self.0.ran.store(true, Ordering::SeqCst);
    }

    /// `kvm_flush_shadow_all()`: the process ends, and others may still have the VM.
    pub fn flush(&self) {
        self.0.ours.flush();
    }

    /// The process ends: nobody uses the VM any more.
    pub fn destroy(self) {
        let vm = &self.0;
        vm.ours.flush();
        // A file has a reference to its VM.
        let slots = vm.kvm.0.slots.lock().unwrap().clone();
        for slot in slots.iter() {
            slot.gmem.iter().for_each(|(file, _)| file.close());
        }
        for vcpu in vm.kvm.0.vcpus.read().unwrap().clone() {
            if let Some(ours) = Held::<C::Vcpu>::new(vcpu).split().1.take() {
                vm.ours.destroy_vcpu(ours);
            }
        }
        vm.ours.destroy();
        *vm.kvm.0.slots.lock().unwrap() = StdArc::default();
    }
}

impl<C: Component> Inner<C> {
    /// An invalidation begins.
    fn begin(&self, gfns: &Range<u64>, halves: Halves, may_block: bool) {
        let mut lock = MmuWriteLock::new(&self.kvm);
        self.kvm.invalidate_begin(&lock, gfns);
        self.unmap(gfns, halves, &mut lock, may_block);
    }

    /// `kvm_unmap_gfn_range()`.
    fn unmap(
        &self,
        gfns: &Range<u64>,
        halves: Halves,
        lock: &mut MmuWriteLock<'_>,
        may_block: bool,
    ) {
        if !self.ours.unmap(gfns.clone(), halves, lock, may_block) {
            self.kept.store(true, Ordering::SeqCst);
        }
    }

    /// It ends.
    fn end(&self) {
        let lock = MmuWriteLock::new(&self.kvm);
        self.kvm.invalidate_end(&lock);
    }

    fn run(&self, held: &mut Held<'_, C::Vcpu>, guest: &mut Guest) -> Result {
        if !held.split().0.regs().has_run {
            if self.kvm.is_dead() {
                return Err(EIO);
            }
            self.ours.first_run(held)?;
            held.split().0.regs().has_run = true;
        }
        let (vcpu, data) = held.split();
        let data = data.as_mut().ok_or(EIO)?;
        loop {
            if self.kvm.is_dead() {
                return Err(EIO);
            }
            if machine().signal_pending() {
                vcpu.exit_intr();
                return Err(EINTR);
            }
            // `check_memory()`
            let bad = machine().bad_pages();
            if vcpu.regs().bad_pages != bad {
                vcpu.regs().bad_pages = bad;
                match self.ours.memory_failed(vcpu, data) {
                    Next::User => return Ok(()),
                    next => assert_eq!(next, Next::Enter),
                }
            }
            if vcpu.regs().owes {
                match self.ours.complete(vcpu, data)? {
                    Next::User => return Ok(()),
                    next => assert_eq!(next, Next::Enter),
                }
                vcpu.regs().owes = false;
            }
            if vcpu.is_stopped() {
                if self.ran.load(Ordering::SeqCst) {
                    return Ok(());
                }
                shuttle::thread::yield_now();
                continue;
            }
            if !self.once(vcpu, data, guest)? {
                return Ok(());
            }
        }
    }

    /// One entry, and what comes of it. False if it is user space's turn.
    fn once(&self, vcpu: &mut Locked<'_>, data: &mut C::Vcpu, guest: &mut Guest) -> Result<bool> {
        let entry = Entry {
            pc_advanced: false,
            external_abort: false,
        };
        self.ours.enter(vcpu, data, entry);
        let rec = vcpu.rec().ok_or(EIO)?.raw();
        let args = [rec, vcpu.regs().run_pa];
        let args = Regs::new(Fid::REC_ENTER.raw().into(), &args);
        machine().take_a_while();
        vcpu.regs().result = machine().firmware().enter(&args, guest).x(0);
        machine().take_a_while();
        match self.ours.handle_exit(vcpu, data)? {
            Next::Enter => return Ok(!guest.ops.is_empty()),
            Next::User => return Ok(false),
            // ESR_EL2.EC: a data abort.
            Next::Trap if vcpu.regs().fault.esr >> 26 == 0x24 => {
                return self.shared_fault(vcpu, data);
            }
            Next::Trap => {
                vcpu.regs().exit = Exit::Trap(vcpu.regs().fault.esr);
                return Ok(false);
            }
            Next::Psci => self.psci(vcpu),
            Next::Hypercall => {
                vcpu.gprs_mut()[0] = u64::MAX;
                vcpu.regs().exit = Exit::Hypercall(vcpu.regs().fault.esr);
                return Ok(false);
            }
            Next::Complete => vcpu.regs().owes = true,
            Next::Off => {
                let state = self.vcpu_state(vcpu);
                state.stopped.store(true, Ordering::SeqCst);
                if state.turned_on.swap(false, Ordering::SeqCst) {
                    state.stopped.store(false, Ordering::SeqCst);
                }
                return Ok(!guest.ops.is_empty());
            }
        }
        Ok(vcpu.regs().exit != Exit::SystemEvent)
    }

    fn vcpu_state(&self, vcpu: &Locked<'_>) -> StdArc<VcpuState> {
        self.kvm.0.vcpus.read().unwrap()[vcpu.index()].clone()
    }

    /// `kvm_psci_call()`.
    fn psci(&self, vcpu: &mut Locked<'_>) {
        match vcpu.gprs()[0] as u32 {
            0xc400_0003 => {
                let target = u32::try_from(vcpu.gprs()[1]).unwrap_or(u32::MAX);
                let vcpus = self.kvm.0.vcpus.read().unwrap().clone();
                for other in vcpus.iter().filter(|other| other.id == target) {
                    // Nothing is done to one that runs.
                    other.stopped.store(false, Ordering::SeqCst);
                }
            }
            0x8400_0008 | 0x8400_0009 => vcpu.regs().exit = Exit::SystemEvent,
            _ => {}
        }
    }

    /// `kvm_handle_guest_abort()` and `user_mem_abort()`.
    fn shared_fault(&self, vcpu: &mut Locked<'_>, data: &mut C::Vcpu) -> Result<bool> {
        let gfn = vcpu.regs().fault.ipa / GRANULE_SIZE;
        let slots = Slots::read(&self.kvm);
        let Some(hva) = slots.find(gfn).and_then(|slot| slot.hva(gfn)) else {
            vcpu.regs().exit = Exit::Mmio(gfn * GRANULE_SIZE);
            return Ok(false);
        };
        loop {
            let seq = self.kvm.invalidate_seq();
            let writable = self.mm.is_writable(hva);
            // ESR_EL2.WnR.
            if vcpu.regs().fault.esr & 1 << 6 != 0 && !writable {
                return Err(EFAULT);
            }
            let pa = self.mm.get(hva).ok_or(ENOMEM)?;
            let lock = MmuReadLock::new(&self.kvm);
            let memory = match self.mm.huge(hva) {
                // As it is seen under the lock: what changes it waits for that.
                Some((first, base)) if base + (hva - first) == pa => Shared {
                    ipa: gfn * GRANULE_SIZE - (hva - first),
                    pa: base,
                    size: HUGE,
                    writable: true,
                },
                _ => Shared {
                    ipa: gfn * GRANULE_SIZE,
                    pa,
                    size: GRANULE_SIZE,
                    writable,
                },
            };
            let mapped = match lock.anything_since(seq) {
                true => Err(EAGAIN),
                false => self.ours.map_shared(vcpu, data, memory, &lock),
            };
            drop(lock);
            machine().put_page(pa);
            match mapped {
                Err(error) if error != EAGAIN => return Err(error),
                _ if !self.ours.make_room(data)? => return Ok(true),
                _ => {}
            }
        }
    }
}

impl<C: Component> Notifier for Inner<C> {
    fn start(&self, hvas: &Range<u64>, may_block: bool) -> usize {
        self.kvm.0.notifying.fetch_add(1, Ordering::SeqCst);
        let ranges = Slots::read(&self.kvm).at_hvas(hvas);
        let halves = Halves {
            private: false,
            shared: true,
        };
        for gfns in &ranges {
            self.begin(gfns, halves, may_block);
        }
        ranges.len()
    }

    fn end(&self, begun: usize) {
        (0..begun).for_each(|_| Inner::end(self));
        self.kvm.0.notifying.fetch_sub(1, Ordering::SeqCst);
    }

    fn start_gmem(&self, file: &Gmem, pages: &Range<u64>) -> usize {
        let ranges = Slots::read(&self.kvm).in_file(file, pages);
        for gfns in &ranges {
            self.begin(gfns, PRIVATE, true);
        }
        ranges.len()
    }

    fn end_gmem(&self, begun: usize) {
        (0..begun).for_each(|_| Inner::end(self));
    }

    fn is_kept(&self) -> bool {
        self.kept.load(Ordering::SeqCst)
    }

    fn keeps(&self, file: &Gmem, page: u64) -> bool {
        let at = Slots::read(&self.kvm).in_file(file, &(page..page + 1));
        let mut lock = MmuWriteLock::new(&self.kvm);
        let is_kept = |gfns| !self.ours.unmap(gfns, PRIVATE, &mut lock, true);
        at.into_iter().any(is_kept)
    }
}
