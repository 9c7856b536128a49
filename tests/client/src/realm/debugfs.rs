// SPDX-License-Identifier: GPL-2.0

//! What the component says of itself.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::{ensure, Result};

/// Where its files are.
pub(crate) const DIRECTORY: &str = "/sys/kernel/debug/kvm_arm_rmi";

/// A number after "`key`: " in one of its files.
fn value(file: &str, key: &str) -> Result<u64> {
    let text = read_to_string(format!("{DIRECTORY}/{file}"))?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    Ok(value.ok_or_else(|| format!("{file}: no {key}"))?.parse()?)
}

/// Whether the RMM speaks RMI 1.0; `None` if nobody says so.
pub(crate) fn is_rmi_1_0() -> Option<bool> {
    let state = read_to_string(format!("{DIRECTORY}/state")).ok()?;
    Some(state.lines().any(|line| line == "abi: 1.0"))
}

/// True if the component has files there, as every host of ours.
pub(crate) fn is_there() -> bool {
    std::fs::exists(DIRECTORY).is_ok_and(|exists| exists)
}

/// This process needs no such files: nothing is counted without them.
pub(crate) fn optional() {
    OPTIONAL.store(true, Ordering::Relaxed);
}

static OPTIONAL: AtomicBool = AtomicBool::new(false);

/// Granules that the RMM holds.
pub(crate) fn delegated() -> Result<u64> {
    if OPTIONAL.load(Ordering::Relaxed) && !is_there() {
        return Ok(0);
    }
    value("granules", "delegated")
}

/// Granules that the RMM holds, and those of them that are leaked.
pub(crate) fn granules() -> Result<(u64, u64)> {
    Ok((delegated()?, value("granules", "leaked")?))
}

/// A file of this process's only VM.
fn file_of_vm(name: &str) -> Result<String> {
    let prefix = format!("vm-{}-", std::process::id());
    let mut vms = Vec::new();
    for entry in std::fs::read_dir(DIRECTORY)? {
        vms.extend(entry?.file_name().into_string());
    }
    vms.retain(|name| name.starts_with(&prefix));
    let [vm] = &vms[..] else {
        return Err(format!("this process has the VMs {vms:?}").into());
    };
    Ok(format!("{vm}/{name}"))
}

/// Tables that are set aside for blocks of private memory, of this process's only VM.
pub(crate) fn tables_set_aside() -> Result<u64> {
    value(&file_of_vm("granules")?, "tables_set_aside")
}

/// Granules that are mapped, private and shared, of this process's only VM.
pub(crate) fn mapped() -> Result<[u64; 2]> {
    let file = file_of_vm("granules")?;
    Ok([
        value(&file, "mapped_private")?,
        value(&file, "mapped_shared")?,
    ])
}

/// Has the RMM go wrong: the arguments of its call for that.
pub(crate) fn fault(arguments: &[u64]) -> Result<()> {
    let words: Vec<String> = arguments.iter().map(|word| format!("{word:x}")).collect();
    let file = format!("{DIRECTORY}/selftest/fault");
    std::fs::write(&file, words.join(",")).map_err(|e| format!("{file}: {e}"))?;
    Ok(())
}

/// Commands by their names without "RMI_": how many calls, and how many that failed.
pub(crate) type Smcs = BTreeMap<String, (u64, u64)>;

/// The SMCs so far.
pub(crate) fn smcs() -> Result<Smcs> {
    let text = read_to_string(format!("{DIRECTORY}/smcs"))?;
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, calls, failed] = words[..] else {
                return Err(format!("smcs: {line}").into());
            };
            let name = name.strip_prefix("RMI_").unwrap_or(name);
            Ok((name.to_owned(), (calls.parse()?, failed.parse()?)))
        })
        .collect()
}

/// Checks that the RMM holds as many granules as `before`, and that none was leaked. The end of a
/// process that was killed may take a moment.
pub(crate) fn expect_delegated(before: u64) -> Result<()> {
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        if delegated()? == before {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    if OPTIONAL.load(Ordering::Relaxed) && !is_there() {
        return Ok(());
    }
    let (delegated, leaked) = granules()?;
    ensure!(
        delegated == before && leaked == 0,
        "{delegated} granules are delegated instead of {before}, {leaked} leaked"
    );
    Ok(())
}
