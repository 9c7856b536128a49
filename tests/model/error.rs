// SPDX-License-Identifier: GPL-2.0

//! Errors as the kernel has them.

use core::num::NonZeroI32;

/// An errno.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(NonZeroI32);

impl Error {
    /// The number, positive.
    pub fn errno(self) -> i32 {
        self.0.get()
    }
}

impl core::fmt::Debug for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0.get()))
    }
}

/// What can fail.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

macro_rules! errors {
    ($($name:ident = $number:literal),* $(,)?) => {$(
        #[allow(missing_docs, reason = "as in errno.h")]
        pub const $name: Error = Error(NonZeroI32::new($number).unwrap());
    )*};
}

errors! {
    EPERM = 1, ENOENT = 2, EINTR = 4, EIO = 5, ENXIO = 6, ENOEXEC = 8, EAGAIN = 11, ENOMEM = 12, EFAULT = 14,
    EBUSY = 16, EEXIST = 17, ENODEV = 19, EINVAL = 22, ENOSPC = 28, EOPNOTSUPP = 95, ESHUTDOWN = 108,
    EHWPOISON = 133,
}
