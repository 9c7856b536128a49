// SPDX-License-Identifier: GPL-2.0

//! What `rust/status.rs` is where there is no debugfs: nothing is shown.

use crate::{
    host::Host,
    vm::Vm, //
};
use kernel::{
    alloc::AllocError,
    sync::Arc, //
};

/// No directory.
pub(crate) struct Directory;

/// No files.
pub(crate) struct VmFiles;

impl Directory {
    /// # Errors
    ///
    /// None.
    pub(crate) fn new(_host: &Arc<Host>) -> Result<Self, AllocError> {
        Ok(Self)
    }

    /// No files for a VM.
    pub(crate) fn show_vm(&self, _vm: &Arc<Vm>) -> Option<VmFiles> {
        None
    }
}
