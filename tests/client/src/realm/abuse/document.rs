// SPDX-License-Identifier: GPL-2.0

//! What `uapi/README.md` says of refusals and capabilities, and what the kernel says: they have to be the
//! same, in both directions.

use std::collections::{BTreeMap, BTreeSet};

use super::Cases;
use crate::realm::vm::{Shape, Vm};
use crate::realm::{ensure, Result};

const DOCUMENT: &str = include_str!("../../../../../uapi/README.md");

/// Errors by the names that the document has for them.
const NAMES: [(i32, &str); 17] = [
    (libc::EPERM, "EPERM"),
    (libc::EINTR, "EINTR"),
    (libc::EIO, "EIO"),
    (libc::ENXIO, "ENXIO"),
    (libc::E2BIG, "E2BIG"),
    (libc::ENOEXEC, "ENOEXEC"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EFAULT, "EFAULT"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::ENODEV, "ENODEV"),
    (libc::EINVAL, "EINVAL"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::ENOENT, "ENOENT"),
    (libc::EHWPOISON, "EHWPOISON"),
];

/// Sections of the document whose every error is provoked here, or somewhere else.
const SECTIONS: [(&str, &[(&str, &str)]); 8] = [
    (
        "KVM_CREATE_VM",
        &[("EAGAIN", "unload-refused.sh"), ("E2BIG", "gic.rs")],
    ),
    (
        "Capabilities of a realm VM",
        &[("EPERM", "there is no device whose memory could be mapped")],
    ),
    (
        "Memory",
        &[
            (
                "EAGAIN",
                "somebody would have to be at work on a page for a second",
            ),
            ("ENOMEM", "an allocation of the memory management's own"),
            ("EIO", "explored with a model of KVM"),
        ],
    ),
    (
        "KVM_ARM_RMI_POPULATE",
        &[
            ("ENXIO", "realm-faults.sh"),
            ("EINTR", "a signal may come late"),
            ("ENOMEM", "realm-nomem.sh"),
            ("ENOSPC", "explored with a model of KVM"),
            ("EIO", "realm-faults.sh"),
        ],
    ),
    (
        "The first KVM_RUN",
        &[
            ("EINTR", "a signal may come late"),
            ("ENOMEM", "realm-nomem.sh"),
            ("ENOSPC", "explored with a model of KVM"),
            ("EIO", "realm-faults.sh"),
            ("ENXIO", "realm-faults.sh"),
        ],
    ),
    ("Registers", &[]),
    ("How a realm is measured", &[]),
    (
        "KVM_PRE_FAULT_MEMORY",
        &[
            ("EINTR", "a signal may come late"),
            ("EAGAIN", "explored with a model of KVM"),
            ("ENOMEM", "realm-nomem.sh"),
            ("EHWPOISON", "as for a fault"),
            ("EFAULT", "as for a fault"),
            ("ENXIO", "realm-faults.sh"),
        ],
    ),
];

/// What was refused, by sections.
pub(super) type Refusals = BTreeMap<&'static str, BTreeSet<i32>>;

/// The text of a section, up to the next of its level.
pub(in crate::realm) fn section(title: &str) -> Result<&'static str> {
    let headings = ["##", "###"].map(|level| format!("\n{level} {title}\n"));
    let mut found = headings
        .iter()
        .filter_map(|heading| DOCUMENT.split_once(heading));
    let (_, text) = found
        .next()
        .ok_or_else(|| format!("the document has no section {title}"))?;
    Ok(text.split_once("\n## ").map_or(text, |(text, _)| text))
}

/// What is between backquotes in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Compares what was refused with the document: all errors that it has came, and no others.
pub(super) fn refusals(cases: &mut Cases) -> Result<()> {
    let name = |errno: &i32| {
        let name = NAMES.iter().find(|(number, _)| number == errno);
        name.map_or_else(|| format!("error {errno}"), |(_, name)| (*name).to_owned())
    };
    for (title, elsewhere) in SECTIONS {
        let names: BTreeSet<&str> = NAMES.map(|(_, name)| name).into();
        let mut documented: BTreeSet<String> = quoted(section(title)?)
            .filter(|word| names.contains(word))
            .map(str::to_owned)
            .collect();
        let seen = cases.refusals.get(title);
        let seen: BTreeSet<String> = seen.into_iter().flatten().map(name).collect();
        for (errno, who) in elsewhere {
            let is = documented.remove(*errno) || seen.contains(*errno);
            cases.holds(&format!("{title} has {errno}, see {who}"), is);
        }
        let new: Vec<_> = seen
            .difference(&documented)
            .filter(|name| elsewhere.iter().all(|(errno, _)| errno != name))
            .collect();
        cases.equal(&format!("{title}: not in the document"), new, vec![]);
        let missing: Vec<_> = documented.difference(&seen).collect();
        cases.equal(&format!("{title}: not provoked"), missing, vec![]);
    }
    Ok(())
}

/// Numbers of capabilities that there may be.
const MOST: u64 = 300;

/// Compares the capabilities of a realm VM with the document's, and tries to enable every one.
pub(super) fn capabilities(cases: &mut Cases) -> Result<()> {
    let parameter = |name: &str| -> Result<u64> {
        let number = std::fs::read_to_string(format!("/sys/module/kvm_arm_rmi/parameters/{name}"))?;
        Ok(number.trim().parse()?)
    };
    let vm = Vm::empty(Shape::REALM)?;
    let text = section("Capabilities of a realm VM")?;
    // The first paragraph has all that are there.
    let (offered, _) = text.trim_start().split_once("\n\n").unwrap_or_default();
    let mut documented = BTreeSet::new();
    for word in quoted(offered).filter(|word| is_capability(word)) {
        let number = match word {
            "ARM_RMI" => parameter("cap")?,
            "GUEST_MEMFD_MEMORY_ATTRIBUTES" => parameter("gmem_attributes_cap")?,
            _ => number_of(word)?,
        };
        documented.insert(number);
    }
    ensure!(documented.len() > 20, "the document's list cannot be read");
    let has = |number: &u64| vm.fd.check_extension_raw(*number) > 0;
    let kernel: BTreeSet<u64> = (0..=MOST).filter(has).collect();
    // SVE and a PMU are there if the RMM has them, MSI_DEVID once the VM has an ITS.
    let sometimes = ["ARM_SVE", "ARM_PMU_V3", "MSI_DEVID"]
        .into_iter()
        .map(number_of)
        .collect::<Result<Vec<u64>>>()?;
    documented.retain(|number| !sometimes.contains(number) || has(number));
    if super::is_linux_6_12()? {
        documented.remove(&number_of("GUEST_MEMFD_FLAGS")?);
    }
    let unknown: Vec<_> = kernel.difference(&documented).collect();
    cases.equal("capabilities that the document has not", unknown, vec![]);
    let missing: Vec<_> = documented.difference(&kernel).collect();
    cases.equal("capabilities that are not there", missing, vec![]);

    let takes = text
        .split_once("`KVM_ENABLE_CAP` takes")
        .unwrap_or_default()
        .1;
    let (takes, _) = takes.split_once('.').unwrap_or_default();
    let takes = quoted(takes).filter(|word| is_capability(word));
    let takes = takes.map(number_of).collect::<Result<BTreeSet<u64>>>()?;
    for cap in 0..=MOST {
        // What can be enabled may change the VM.
        let vm = Vm::empty(Shape::REALM)?;
        let enable = kvm_bindings::kvm_enable_cap {
            cap: cap.try_into()?,
            ..Default::default()
        };
        let errno = if takes.contains(&cap) {
            0
        } else {
            libc::EINVAL
        };
        let what = format!("enabling capability {cap}");
        cases.errno(&what, vm.fd.enable_cap(&enable), errno);
    }
    Ok(())
}

/// True for the name of a capability, without "KVM_CAP_".
fn is_capability(word: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    word.chars().all(is_letter) && !word.starts_with("KVM_")
}

/// The number of a capability in Linux's header.
fn number_of(name: &str) -> Result<u64> {
    let number = CAPABILITIES.iter().find(|(known, _)| *known == name);
    let (_, number) = number.ok_or_else(|| format!("capability {name}?"))?;
    Ok(u64::from(*number))
}

macro_rules! capabilities {
    ($($name:ident $number:literal)*) => { [$((stringify!($name), $number)),*] };
}

/// Those that the document names, by Linux's header.
const CAPABILITIES: [(&str, u32); 49] = capabilities! {
    IRQCHIP 0
    USER_MEMORY 3
    NR_VCPUS 9
    NR_MEMSLOTS 10
    MP_STATE 14
    COALESCED_MMIO 15
    SYNC_MMU 16
    DESTROY_MEMORY_REGION_WORKS 21
    IRQ_ROUTING 25
    JOIN_MEMORY_REGIONS_WORKS 30
    IRQFD 32
    IOEVENTFD 36
    INTERNAL_ERROR_DATA 40
    VCPU_EVENTS 41
    MAX_VCPUS 66
    ONE_REG 70
    SIGNAL_MSI 77
    IRQFD_RESAMPLE 82
    ARM_PSCI 87
    DEVICE_CTRL 89
    ENABLE_CAP_VM 98
    ARM_PSCI_0_2 102
    CHECK_EXTENSION_VM 105
    MULTI_ADDRESS_SPACE 118
    IOEVENTFD_ANY_LENGTH 122
    ARM_PMU_V3 126
    VCPU_ATTRIBUTES 127
    MAX_VCPU_ID 128
    MSI_DEVID 131
    IMMEDIATE_EXIT 136
    COALESCED_PIO 162
    ARM_VM_IPA_SIZE 165
    MANUAL_DIRTY_LOG_PROTECT2 168
    ARM_SVE 170
    ARM_PTRAUTH_ADDRESS 171
    ARM_PTRAUTH_GENERIC 172
    ARM_IRQ_LINE_LAYOUT_2 174
    ARM_INJECT_EXT_DABT 178
    HALT_POLL 182
    BINARY_STATS_FD 203
    EXIT_ON_EMULATION_FAILURE 204
    SYSTEM_EVENT_DATA 215
    VM_TYPES 235
    USER_MEMORY2 231
    MEMORY_FAULT_INFO 232
    MEMORY_ATTRIBUTES 233
    GUEST_MEMFD 234
    GUEST_MEMFD_FLAGS 244
    PRE_FAULT_MEMORY 236
};
