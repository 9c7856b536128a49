// SPDX-License-Identifier: GPL-2.0

//! What `debugfs.rs` is where there is no debugfs: nothing is shown.

use super::prelude::*;
use core::marker::PhantomData;

/// A file about a `T`.
#[allow(dead_code, reason = "nobody looks")]
pub struct Spec<T: 'static> {
    /// Its name.
    pub name: &'static CStr,
    /// Prints what reading it gives, if it can be read.
    pub show: Option<fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result>,
    /// Takes a word that is written to it, without blanks around it, if it can be written.
    pub store: Option<fn(&T, &str) -> Result>,
}

/// No directory.
pub struct Dir<T: 'static>(PhantomData<fn(&T)>);

impl<T: Send + Sync> Dir<T> {
    /// None.
    ///
    /// # Errors
    ///
    /// None.
    pub fn new(_name: &CStr, _data: &Arc<T>, _files: &'static [Spec<T>]) -> Result<Self> {
        Ok(Self(PhantomData))
    }

    /// None.
    ///
    /// # Errors
    ///
    /// None.
    pub fn subdir<U: Send + Sync>(
        &self,
        _name: fmt::Arguments<'_>,
        _data: &Arc<U>,
        _files: &'static [Spec<U>],
    ) -> Result<Dir<U>> {
        Ok(Dir(PhantomData))
    }
}
