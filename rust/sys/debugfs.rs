// SPDX-License-Identifier: GPL-2.0

//! Directories of files in debugfs that keep the module loaded while they are open
//! (`rust/sys/debugfs.c`).

use super::ffi;
use super::kernel::{
    alloc::AllocError,
    bindings,
    error::from_result,
    fmt,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    str::{CStrExt, CString},
    sync::Arc, //
};

/// A file about a `T`.
pub struct Spec<T: 'static> {
    /// Its name.
    pub name: &'static CStr,
    /// Prints what reading it gives, if it can be read.
    pub show: Option<fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result>,
    /// Takes a word that is written to it, without blanks around it, if it can be written.
    pub store: Option<fn(&T, &str) -> Result>,
}

/// A file, as C and Rust know it.
///
/// # Invariants
///
/// `file` is the first field, and its functions are those for `T`.
#[repr(C)]
struct Entry<T: 'static> {
    file: ffi::kvm_rmi_file,
    spec: &'static Spec<T>,
    data: Arc<T>,
}

/// A directory and its files. They go away when this is dropped.
pub struct Dir<T: 'static> {
    /// Null or an error pointer where there is no debugfs; C takes that for a directory as well.
    dentry: *mut bindings::dentry,
    entries: KVec<KBox<Entry<T>>>,
}

// SAFETY: A `dentry` may be removed by any thread, and the data may be used by any.
unsafe impl<T: Send + Sync> Send for Dir<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Dir<T> {}

impl<T: Send + Sync> Dir<T> {
    /// Makes directory `name` at the top, with files about `data`.
    ///
    /// # Errors
    ///
    /// Out of memory. What debugfs itself does not do is no error: nothing depends on it.
    pub fn new(name: &CStr, data: &Arc<T>, files: &'static [Spec<T>]) -> Result<Self> {
        // SAFETY: `name` is a string; a null parent is the top.
        let dentry =
            unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), core::ptr::null_mut()) };
        Self::fill(dentry, data, files).map_err(Error::from)
    }

    /// Makes a directory `name` in this one, with files about `data`.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`].
    pub fn subdir<U: Send + Sync>(
        &self,
        name: fmt::Arguments<'_>,
        data: &Arc<U>,
        files: &'static [Spec<U>],
    ) -> Result<Dir<U>> {
        let name = CString::try_from_fmt(name)?;
        // SAFETY: `name` is a string, and the parent is a directory as long as `self` lives.
        let dentry = unsafe { bindings::debugfs_create_dir(name.as_char_ptr(), self.dentry) };
        Dir::fill(dentry, data, files).map_err(Error::from)
    }

    fn fill(
        dentry: *mut bindings::dentry,
        data: &Arc<T>,
        files: &'static [Spec<T>],
    ) -> Result<Self, AllocError> {
        let mut dir = Self {
            dentry,
            entries: KVec::new(),
        };
        dir.entries.reserve(files.len(), GFP_KERNEL_ACCOUNT)?;
        for spec in files {
            // INVARIANT: The functions are those for `T`.
            let entry = Entry {
                file: ffi::kvm_rmi_file {
                    show: spec.show.map(|_| show::<T> as ffi::Show),
                    store: spec.store.map(|_| store::<T> as ffi::Store),
                },
                spec,
                data: data.clone(),
            };
            dir.entries
                .push(KBox::new(entry, GFP_KERNEL_ACCOUNT)?, GFP_KERNEL_ACCOUNT)?;
            if let Some(entry) = dir.entries.last_mut() {
                let file = core::ptr::from_mut::<Entry<T>>(entry).cast();
                // SAFETY: The entry stays where it is until `drop` has removed the file.
                unsafe {
                    ffi::kvm_rmi_helper_debugfs_create_file(file, spec.name.as_char_ptr(), dentry)
                };
            }
        }
        Ok(dir)
    }
}

impl<T: 'static> Drop for Dir<T> {
    fn drop(&mut self) {
        // SAFETY: Made by `debugfs_create_dir()`. When this returns nobody uses the files, and
        // only then are the entries dropped.
        unsafe { bindings::debugfs_remove(self.dentry) };
    }
}

/// Prints a file's contents.
struct Contents<'a, T: 'static>(&'a Entry<T>);

impl<T: 'static> fmt::Display for Contents<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(entry) = self;
        entry.spec.show.map_or(Ok(()), |show| show(&entry.data, f))
    }
}

/// `struct kvm_rmi_file`'s show.
///
/// # Safety
///
/// `file` is that of an `Entry<T>`, and `seq` is being shown.
unsafe extern "C" fn show<T: 'static>(
    file: *const ffi::kvm_rmi_file,
    seq: *mut bindings::seq_file,
) -> c_int {
    // SAFETY: By the contract of this function; files live as long as they can be opened.
    let entry = unsafe { &*file.cast::<Entry<T>>() };
    // SAFETY: By the contract of this function.
    let seq = unsafe { SeqFile::from_raw(seq) };
    seq_print!(seq, "{}", Contents(entry));
    0
}

/// `struct kvm_rmi_file`'s store.
///
/// # Safety
///
/// `file` is that of an `Entry<T>`, and `word` is a string.
unsafe extern "C" fn store<T: 'static>(
    file: *const ffi::kvm_rmi_file,
    word: *const c_char,
) -> c_int {
    // SAFETY: By the contract of this function; files live as long as they can be opened.
    let entry = unsafe { &*file.cast::<Entry<T>>() };
    // SAFETY: By the contract of this function.
    let word = unsafe { CStr::from_char_ptr(word) };
    from_result(|| {
        let word = word.to_str().map_err(|_| EINVAL)?;
        let store = entry.spec.store.ok_or(EINVAL)?;
        store(&entry.data, word).map(|()| 0)
    })
}
