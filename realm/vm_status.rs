// SPDX-License-Identifier: GPL-2.0

//! `kvm_arm_rmi/vm-PID-N/` in debugfs: what a VM is to the RMM, what of memory it has, what was asked
//! for it.
//!
//! The files can be read as long as the VM is there, whatever is done with it meanwhile.

use super::{
    host::Host,
    notes::count,
    smc::rd,
    status::{print_granules, print_smcs},
    vm::Vm,
    State, //
};
use crate::sys::{
    debugfs::{Dir, Spec},
    prelude::*,
    sched, //
};
use core::sync::atomic::{AtomicU64, Ordering};

/// Makes the files of a VM that the current task makes.
pub fn show(parent: &Dir<Host>, vm: &Arc<Vm>) -> Option<Dir<Vm>> {
    /// Tells VMs of one process from each other, and those of processes with the same number. Nobody
    /// relies on an order.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (pid, n) = (sched::current_pid(), NEXT.fetch_add(1, Ordering::Relaxed));
    parent.subdir(fmt!("vm-{pid}-{n}"), vm, FILES).ok()
}

const FILES: &[Spec<Vm>] = &[
    Spec {
        name: c"state",
        show: Some(show_state),
        store: None,
    },
    Spec {
        name: c"granules",
        show: Some(show_granules),
        store: None,
    },
    Spec {
        name: c"smcs",
        show: Some(show_smcs),
        store: None,
    },
];

/// How often it is tried to see the state, at intervals of 50 us or more.
const TRIES: u32 = 100;

/// The state, unless something is being done to the realm that takes long. Whoever reads a file
/// must not depend on what a VMM may make as long as it likes.
fn state(vm: &Vm) -> Option<State> {
    (0..TRIES).find_map(|_| {
        let state = vm.lifecycle.try_lock().map(|this| this.realm.state());
        if state.is_none() {
            sched::wait_a_little();
        }
        state
    })
}

/// Lines `key: value`.
///
/// # Errors
///
/// Those of `f`.
fn show_state(vm: &Vm, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match state(vm) {
        Some(state) => writeln!(f, "state: {state:?}")?,
        None => writeln!(f, "state: busy")?,
    }
    writeln!(f, "rd: {:#x}", rd(&vm.name))?;
    writeln!(f, "ipa_bits: {}", vm.space.bits())?;
    writeln!(f, "vcpus: {}", vm.kvm.vcpu_count())?;
    writeln!(f, "recs: {}", vm.recs.load(Ordering::Relaxed))?;
    writeln!(f, "start_level: {}", vm.layout.start.raw())?;
    writeln!(f, "start_tables: {}", 1 << vm.layout.order)?;
    let mut level = vm.layout.start.below();
    while let Some(this) = level {
        let tables = vm.tables.tables_at(this);
        writeln!(f, "tables_at_level_{}: {tables}", this.raw())?;
        level = this.below();
    }
    Ok(())
}

/// What the realm has of memory, and what the RMM has for it.
///
/// # Errors
///
/// Those of `f`.
fn show_granules(vm: &Vm, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let all = 0..u64::MAX;
    writeln!(f, "mapped_private: {}", count(&vm.pages, &all))?;
    writeln!(f, "mapped_shared: {}", count(&vm.shared, &all))?;
    writeln!(f, "tables_set_aside: {}", vm.blocks.count())?;
    print_granules(&vm.counts, f)
}

/// As the file of the same name for the whole host.
///
/// # Errors
///
/// Those of `f`.
fn show_smcs(vm: &Vm, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    print_smcs(&vm.counts, f)
}
