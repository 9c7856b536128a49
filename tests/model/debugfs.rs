// SPDX-License-Identifier: GPL-2.0

//! Files in debugfs, which a test reads.

use super::{machine::machine, prelude::*};
use core::marker::PhantomData;
use std::{rc::Rc, string::String};

/// A file about a `T`.
pub struct Spec<T: 'static> {
    /// Its name.
    pub name: &'static CStr,
    /// Prints what reading it gives, if it can be read.
    pub show: Option<fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result>,
    /// Takes a word that is written to it, without blanks around it, if it can be written.
    pub store: Option<fn(&T, &str) -> Result>,
}

/// What reading a file gives.
pub(super) type Contents = Rc<dyn Fn() -> String>;

/// A directory and its files. They go away when this is dropped.
pub struct Dir<T: 'static> {
    path: String,
    data: PhantomData<fn(&T)>,
}

impl<T: Send + Sync> Dir<T> {
    /// Makes directory `name` at the top, with files about `data`.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn new(name: &CStr, data: &Arc<T>, files: &'static [Spec<T>]) -> Result<Self> {
        Ok(Self::fill(name.to_str().unwrap().into(), data, files))
    }

    /// Makes a directory `name` in this one, with files about `data`.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn subdir<U: Send + Sync>(
        &self,
        name: fmt::Arguments<'_>,
        data: &Arc<U>,
        files: &'static [Spec<U>],
    ) -> Result<Dir<U>> {
        Ok(Dir::fill(format!("{}/{name}", self.path), data, files))
    }

    fn fill(path: String, data: &Arc<T>, files: &'static [Spec<T>]) -> Self {
        for spec in files {
            let data = data.clone();
            if let Some(show) = spec.show {
                let contents = Rc::new(move || Shown(&*data, show).to_string());
                let name = spec.name.to_str().unwrap();
                machine().add_file(format!("{path}/{name}"), contents);
            }
        }
        let data = PhantomData;
        Self { path, data }
    }
}

impl<T: 'static> Drop for Dir<T> {
    fn drop(&mut self) {
        machine().remove_files(&format!("{}/", self.path));
    }
}

struct Shown<'a, T>(&'a T, fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result);

impl<T> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.1)(self.0, f)
    }
}
