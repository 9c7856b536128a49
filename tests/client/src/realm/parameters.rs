// SPDX-License-Identifier: GPL-2.0

//! The component's parameters, which are as before when a test is over.

use std::fs;

use super::Result;

/// A parameter that was set.
pub(crate) struct Setting {
    file: String,
    before: String,
}

impl Setting {
    /// Sets a parameter, for as long as this is there.
    pub(crate) fn new(name: &str, value: &str) -> Result<Self> {
        let file = format!("/sys/module/kvm_arm_rmi/parameters/{name}");
        let before = fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?;
        fs::write(&file, value).map_err(|e| format!("{file}: {e}"))?;
        Ok(Self { file, before })
    }

    /// Private memory comes in blocks of 2 MiB: at the first touch, or where a realm shows that it uses
    /// its memory.
    pub(crate) fn blocks(adaptive: bool) -> Result<[Self; 2]> {
        let adaptive = if adaptive { "Y" } else { "N" };
        Ok([
            Self::new("fault_around", "2097152")?,
            Self::new("fault_adaptive", adaptive)?,
        ])
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, &self.before) {
            eprintln!("{}: {error}", self.file);
        }
    }
}
