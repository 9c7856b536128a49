// SPDX-License-Identifier: GPL-2.0

//! How a guest's run can end, and what the VMM's exit status says of it.

use std::fmt;

/// The exit status when the VMM itself failed.
pub const FAILED: i32 = 1;

/// Why a guest does not run any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It turned itself off.
    Off,
    /// It asked for a reset. A realm cannot be reset: whoever wants that starts another one.
    Reset,
    /// It cannot go on, for the reason given.
    Crash(String),
    /// Somebody sent us this signal.
    Signal(i32),
    /// The escape from the terminal.
    Escape,
}

impl End {
    /// The exit status.
    pub fn status(&self) -> i32 {
        match self {
            Self::Off => 0,
            Self::Reset => 3,
            Self::Crash(_) => 4,
            // What shells say of a program that a signal ended.
            Self::Signal(number) => 128 + number,
            Self::Escape => 128 + libc::SIGINT,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => to.write_str("the guest turned itself off"),
            Self::Reset => to.write_str("the guest asked for a reset"),
            Self::Crash(why) => write!(to, "the guest crashed: {why}"),
            Self::Signal(number) => write!(to, "ended by signal {number}"),
            Self::Escape => to.write_str("ended from the terminal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_endings_look_alike() {
        let ends = [
            End::Off,
            End::Reset,
            End::Crash("panic".into()),
            End::Signal(libc::SIGINT),
            End::Signal(libc::SIGTERM),
        ];
        let mut statuses: Vec<i32> = ends.iter().map(End::status).collect();
        assert_eq!(statuses, [0, 3, 4, 130, 143]);
        // 2 is clap's, for arguments that make no sense.
        statuses.extend([FAILED, 2]);
        statuses.sort_unstable();
        statuses.dedup();
        assert_eq!(statuses.len(), 7);
    }
}
