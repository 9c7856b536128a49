// SPDX-License-Identifier: GPL-2.0

//! What a VMM may rely on, call by call, with the section of `uapi/README.md` that says so. Nothing here
//! needs more than KVM, so that another host can be judged by it.

use kvm_ioctls::Kvm;

use super::abuse::{self, Cases, Group};
use super::vm::{Mode, Shape};
use super::{debugfs, run, signal, Result};

/// Something that not every host has: its name, and whether this one does.
type Feature = (&'static str, fn() -> Result<bool>);

/// What is looked at: the section, what it takes, and the cases.
type Part = (&'static str, Option<Feature>, Group);

const PARTS: [Part; 14] = [
    ("KVM_CREATE_VM", None, abuse::create::cases),
    ("Capabilities of a realm VM", None, abuse::caps::offered),
    (
        "How a realm is measured",
        Some(ATTRIBUTES),
        abuse::attributes::cases,
    ),
    ("KVM_ARM_RMI_POPULATE", None, abuse::populate::cases),
    ("The first KVM_RUN", None, abuse::first_run::cases),
    ("Two halves", None, abuse::gic::cases),
    ("Exits", None, abuse::mmio::cases),
    ("Registers", None, abuse::regs::cases),
    ("Memory", None, abuse::slots::cases),
    ("Dirty logging", Some(DIRTY_LOG), abuse::dirty::cases),
    (
        "KVM_PRE_FAULT_MEMORY",
        Some(PRE_FAULT),
        abuse::pre_fault::cases,
    ),
    ("KVM_EXIT_MEMORY_FAULT", None, abuse::inside::cases),
    (
        "KVM_EXIT_MEMORY_FAULT",
        Some(ANSWERS),
        abuse::answers::cases,
    ),
    ("From nothing to a realm that runs", None, lives),
];

const ATTRIBUTES: Feature = (
    "attributes of the group KVM_ARM_VM_RMI_CTRL",
    abuse::attributes::is_offered,
);
const DIRTY_LOG: Feature = (
    "dirty logging of slots without guest_memfd",
    abuse::dirty::is_offered,
);
const PRE_FAULT: Feature = ("KVM_PRE_FAULT_MEMORY", abuse::pre_fault::is_offered);
const ANSWERS: Feature = (
    "causes of memory faults, and answers",
    abuse::answers::is_offered,
);

/// `conformance [--mode v14|v15]`.
pub(crate) fn main(options: &[&str]) -> Result<()> {
    match options {
        [] => {}
        ["--mode", name] => Mode::set(name)?,
        other => return Err(format!("conformance: {other:?}?").into()),
    }
    signal::init()?;
    debugfs::optional();
    println!("TAP version 14");
    println!("# mode: {:?}", Mode::get());
    if Kvm::new()?
        .create_vm_with_type(Shape::REALM.vm_type())
        .is_err()
    {
        return Err("this host has no realms".into());
    }
    let mut cases = Cases::tap();
    let mut lacks = Vec::new();
    for (section, feature, group) in PARTS {
        abuse::document::section(section)?;
        cases.section = Some(section);
        match feature {
            Some((name, is_there)) if !is_there()? => {
                cases.skip(name);
                lacks.push(name);
            }
            _ => {
                // One that stops leaves the others their turn.
                if let Err(error) = group(&mut cases) {
                    cases.case("all of it", false, || format!("stopped: {error}"));
                }
            }
        }
    }
    println!("1..{}", cases.count());
    lacks.iter().for_each(|name| println!("# lacks: {name}"));
    cases.result()
}

/// Whole lives, on one CPU and on two.
fn lives(cases: &mut Cases) -> Result<()> {
    for cpus in [1, 2] {
        let shape = Shape {
            cpus,
            memory: 64 << 20,
            ..Shape::REALM
        };
        let life = run::life(shape);
        cases.case(&format!("everything, on {cpus} CPUs"), life.is_ok(), || {
            life.as_ref()
                .map_or_else(ToString::to_string, |()| String::new())
        });
    }
    Ok(())
}
