// SPDX-License-Identifier: GPL-2.0

//! Logging of what is written to shared memory, as VMMs ask for it with an emulated display.

use std::os::fd::AsRawFd;

use kvm_bindings::{
    kvm_clear_dirty_log,
    kvm_clear_dirty_log__bindgen_ty_1,
    kvm_enable_cap,
    kvm_userspace_memory_region2,
    KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
    KVM_MEM_LOG_DIRTY_PAGES, //
};
use realm_guest::{Op, Order, BASE, PAGE_SIZE};

use super::slots::ordinary;
use super::Cases;
use crate::realm::brief::on_cpu;
use crate::realm::memory::{check, Huge, Mapping};
use crate::realm::vm::{Shape, Vm};
use crate::realm::Result;

/// _IOWR(KVMIO, 0xc0, struct kvm_clear_dirty_log)
const KVM_CLEAR_DIRTY_LOG: libc::c_ulong = 0xc018_aec0;
/// Pages of the slot: the last word of its log is not full.
const PAGES: u64 = 100;
const SLOT: u32 = 5;
const AT: u64 = BASE + (64 << 20);

/// True if this host has it.
pub(in crate::realm) fn is_offered() -> Result<bool> {
    let vm = Vm::empty(Shape::REALM)?;
    let memory = Mapping::new(PAGE_SIZE, Huge::Never)?;
    let logged = kvm_userspace_memory_region2 {
        flags: KVM_MEM_LOG_DIRTY_PAGES,
        ..ordinary(SLOT, AT, &memory)
    };
    Ok(vm.set_slot(&logged).is_ok())
}

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    for manual in [false, true] {
        let vm = Vm::new(Shape::REALM)?;
        if manual {
            vm.fd.enable_cap(&kvm_enable_cap {
                cap: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                args: [1, 0, 0, 0],
                ..Default::default()
            })?;
        }
        logged(cases, &vm, manual)?;
    }
    Ok(())
}

/// A slot that is logged before, while and after the realm writes to it.
fn logged(cases: &mut Cases, vm: &Vm, manual: bool) -> Result<()> {
    let memory = Mapping::new(PAGES * PAGE_SIZE, Huge::Never)?;
    let plain = ordinary(SLOT, AT, &memory);
    let logged = kvm_userspace_memory_region2 {
        flags: KVM_MEM_LOG_DIRTY_PAGES,
        ..plain
    };
    cases.errno("a slot that is logged", vm.set_slot(&logged), 0);
    all_dirty(cases, vm, "at first");
    on_cpu(vm, |cpu| {
        cpu.expect(
            Order::pages(Op::Touch, AT, PAGES * PAGE_SIZE).shared(),
            &[],
            0,
        )?;
        all_dirty(cases, vm, "written");
        all_dirty(cases, vm, "not written since");
        if manual {
            let clear = clear(vm, 64, 36);
            cases.errno("KVM_CLEAR_DIRTY_LOG", clear, 0);
            all_dirty(cases, vm, "cleared");
        }
        cases.errno("no log any more", vm.set_slot(&plain), 0);
        let log = vm.fd.get_dirty_log(SLOT, memory.size() as usize);
        cases.errno("the log of a slot without", log, libc::ENOENT);
        cpu.expect(
            Order::pages(Op::Touch, AT, PAGES * PAGE_SIZE).shared(),
            &[],
            0,
        )?;
        cases.errno("a log again", vm.set_slot(&logged), 0);
        cpu.expect(
            Order::pages(Op::Check, AT, PAGES * PAGE_SIZE).shared(),
            &[],
            0,
        )?;
        all_dirty(cases, vm, "logged again");
        let gone = kvm_userspace_memory_region2 {
            memory_size: 0,
            ..logged
        };
        cases.errno("a slot that is logged goes", vm.set_slot(&gone), 0);
        Ok(())
    })
}

/// The log says that every page was written, and no other.
fn all_dirty(cases: &mut Cases, vm: &Vm, when: &str) {
    let log = vm.fd.get_dirty_log(SLOT, (PAGES * PAGE_SIZE) as usize);
    let wanted = vec![u64::MAX, (1 << (PAGES - 64)) - 1];
    cases.equal(&format!("the log, {when}"), log.ok(), Some(wanted));
}

fn clear(vm: &Vm, first_page: u64, num_pages: u32) -> std::io::Result<()> {
    let mut dirty = [u64::MAX; 2];
    let arguments = kvm_clear_dirty_log {
        slot: SLOT,
        num_pages,
        first_page,
        __bindgen_anon_1: kvm_clear_dirty_log__bindgen_ty_1 {
            dirty_bitmap: dirty.as_mut_ptr().cast(),
        },
    };
    // SAFETY: The ioctl reads such a structure, and the bits that it points to.
    check(unsafe { libc::ioctl(vm.fd.as_raw_fd(), KVM_CLEAR_DIRTY_LOG, &raw const arguments) })
}
