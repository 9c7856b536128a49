// SPDX-License-Identifier: GPL-2.0

//! The kernel's log, and what can be written to it.

/// Writes to the kernel's log.
#[macro_export]
#[doc(hidden)]
macro_rules! model_pr_err {
    ($($args:tt)*) => { $crate::sys::machine::machine().log(format_args!($($args)*)) };
}

/// Writes to the kernel's log.
#[macro_export]
#[doc(hidden)]
macro_rules! model_pr_info {
    ($($args:tt)*) => { $crate::sys::machine::machine().log(format_args!($($args)*)) };
}

/// What can be formatted.
#[macro_export]
#[doc(hidden)]
macro_rules! model_fmt {
    ($($args:tt)*) => { format_args!($($args)*) };
}
