// SPDX-License-Identifier: GPL-2.0

//! How often private memory was mapped for the guest, as the component's files in debugfs have it.

use std::fs;
use std::path::Path;

const COMPONENT: &str = "/sys/kernel/debug/kvm_arm_rmi";

/// Calls that mapped private memory of this process's only VM; `None` if nobody says so.
pub fn private() -> Option<u64> {
    let prefix = format!("vm-{}-", std::process::id());
    let mut vms = fs::read_dir(COMPONENT).ok()?.filter_map(Result::ok);
    let vm = vms.find(|vm| vm.file_name().to_string_lossy().starts_with(&prefix))?;
    in_file(&vm.path().join("smcs"))
}

fn in_file(smcs: &Path) -> Option<u64> {
    calls(&fs::read_to_string(smcs).ok()?)
}

/// The calls in such a file, of which each line has a command's name, calls, and those that failed.
fn calls(smcs: &str) -> Option<u64> {
    let line = smcs.lines().find(|line| line.starts_with("RTT_DATA_MAP "));
    match line {
        Some(line) => line.split_whitespace().nth(1)?.parse().ok(),
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_command() {
        let smcs = "RTT_DATA_MAP_INIT 2112 0\nRTT_DATA_MAP 499 1\nREC_ENTER 5 0\n";
        assert_eq!(calls(smcs), Some(499));
        assert_eq!(calls("RTT_DATA_MAP_INIT 2112 0\n"), Some(0));
        assert_eq!(calls("RTT_DATA_MAP\n"), Some(0));
        assert_eq!(calls("RTT_DATA_MAP x\n"), None);
    }
}
