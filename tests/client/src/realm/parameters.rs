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

    /// So many bytes of private memory come with each fault, whatever a realm uses.
    pub(crate) fn always(bytes: u64) -> Result<[Self; 2]> {
        Ok([
            Self::new("fault_around", &bytes.to_string())?,
            Self::new("fault_adaptive", "N")?,
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
