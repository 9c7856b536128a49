// SPDX-License-Identifier: GPL-2.0

//! What [`super::kernel`] is in Linux 6.12: its kernel crate, and in the places where newer ones have them
//! the few things that `rust/sys/` uses besides.

pub use ::kernel::{
    alloc, container_of, current, error, ffi, init, ioctl, macros, page, pr_err, Module, ThisModule,
};

pub mod bindings;
pub mod prelude;
pub mod seq_file;
pub mod sync;
pub mod uaccess;

pub mod fmt {
    //! The traits are `core`'s.

    pub use core::fmt::*;
}

pub mod types {
    //! Also: which types are of one task.

    use core::marker::PhantomData;
    pub use kernel::types::*;

    /// What has this stays with the task that has made it.
    pub type NotThreadSafe = PhantomData<*mut ()>;

    /// The only value of the type.
    #[allow(non_upper_case_globals, reason = "the name of the type's only value")]
    pub const NotThreadSafe: NotThreadSafe = PhantomData;
}

pub mod str {
    //! Also: strings of C's as `core` has them.

    use core::ffi::CStr;
    use kernel::ffi::c_char;
    pub use kernel::str::CString;

    /// The kernel's characters are unsigned.
    pub trait CStrExt {
        /// As `CStr::as_ptr()`.
        fn as_char_ptr(&self) -> *const c_char;

        /// As `CStr::from_ptr()`.
        ///
        /// # Safety
        ///
        /// As there.
        unsafe fn from_char_ptr<'a>(string: *const c_char) -> &'a Self;
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "here is what is to be used instead"
    )]
    impl CStrExt for CStr {
        fn as_char_ptr(&self) -> *const c_char {
            self.as_ptr().cast()
        }

        unsafe fn from_char_ptr<'a>(string: *const c_char) -> &'a Self {
            // SAFETY: By the contract of this function.
            unsafe { CStr::from_ptr(string.cast()) }
        }
    }
}

pub mod time {
    //! Spans of time.

    /// A span.
    pub struct Delta {
        micros: usize,
    }

    impl Delta {
        /// So many microseconds.
        pub const fn from_micros(micros: usize) -> Self {
            Self { micros }
        }

        /// So many milliseconds.
        pub const fn from_millis(millis: usize) -> Self {
            Self::from_micros(millis * 1000)
        }
    }

    pub mod delay {
        //! Letting them pass.

        use kernel::bindings;

        /// Sleeps that long, or up to twice as long.
        pub fn fsleep(delta: super::Delta) {
            let (least, most) = (delta.micros, 2 * delta.micros);
            // SAFETY: May be called by whoever may sleep.
            unsafe { bindings::usleep_range_state(least, most, bindings::TASK_UNINTERRUPTIBLE) };
        }
    }
}

pub mod jump_label {
    //! Branches that are seldom taken.

    /// Whether the key in field `$field` of `$key`, a `$type` of C's, is on: a load and a test, for this
    /// kernel has no code for Rust that it changes instead.
    #[allow(unused_macros, reason = "without tracepoints there is none")]
    macro_rules! static_branch_unlikely {
        ($key:path, $type:ty, $field:ident) => {{
            let key: *const $type = &raw const $key;
            (&raw const (*key).$field.enabled.counter).read_volatile() != 0
        }};
    }
    pub(crate) use static_branch_unlikely;
}

/// [`pr_err!`], but for the first time only.
#[macro_export]
#[doc(hidden)]
macro_rules! rmi_pr_err_once {
    ($($arg:tt)*) => {{
        use core::sync::atomic::{AtomicBool, Ordering};

        static SAID: AtomicBool = AtomicBool::new(false);
        if !SAID.swap(true, Ordering::Relaxed) {
            ::kernel::pr_err!($($arg)*);
        }
    }};
}
pub use crate::rmi_pr_err_once as pr_err_once;

/// Prints to a [`seq_file::SeqFile`].
macro_rules! seq_print {
    ($file:expr, $($arg:tt)*) => {
        $file.call_printf(::core::format_args!($($arg)*))
    };
}
pub(crate) use seq_print;

/// A mutex with a class of its own.
macro_rules! new_mutex {
    ($value:expr $(, $name:literal)? $(,)?) => {
        $crate::sys::kernel::sync::Mutex::new(
            $value,
            ::kernel::optional_name!($($name)?),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_mutex;
