// SPDX-License-Identifier: GPL-2.0

//! What the component's files in debugfs say, where there are any: how often private memory was mapped for
//! the guest, and what the RMM speaks.

use std::fs;
use std::path::Path;

/// The commands that map private memory, of RMI 2.0 and of 1.0.
const MAPS: [&str; 2] = ["RTT_DATA_MAP", "DATA_CREATE_UNKNOWN"];

const COMPONENT: &str = "/sys/kernel/debug/kvm_arm_rmi";

/// True if the RMM is known to speak RMI 1.0.
pub fn is_rmi_1_0() -> bool {
    let state = fs::read_to_string(Path::new(COMPONENT).join("state"));
    state.is_ok_and(|state| state.lines().any(|line| line == "abi: 1.0"))
}

/// Calls that mapped private memory of this process's only VM; `None` if nobody says so.
pub fn private_maps() -> Option<u64> {
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
    let mut calls = 0;
    for line in smcs.lines() {
        let mut words = line.split_whitespace();
        if MAPS.contains(&words.next()?) {
            calls += words.next()?.parse::<u64>().ok()?;
        }
    }
    Some(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_command() {
        let smcs = "RTT_DATA_MAP_INIT 2112 0\nRTT_DATA_MAP 499 1\nREC_ENTER 5 0\n";
        assert_eq!(calls(smcs), Some(499));
        assert_eq!(calls("RTT_DATA_MAP_INIT 2112 0\n"), Some(0));
        assert_eq!(
            calls("DATA_CREATE 2112 0\nDATA_CREATE_UNKNOWN 77 1\n"),
            Some(77)
        );
        assert_eq!(calls("RTT_DATA_MAP\n"), None);
        assert_eq!(calls("RTT_DATA_MAP x\n"), None);
    }
}
