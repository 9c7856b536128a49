// SPDX-License-Identifier: GPL-2.0

//! How a guest's run can end, and what the VMM's exit status says of it.

use std::fmt;
use std::sync::mpsc::Receiver;

use crate::error::Result;

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

/// What a thread has to tell at its end: why the guest does not run any more, or nothing, if
/// another one knows.
pub type News = Result<Option<End>>;

/// Waits until somebody knows why the guest ended, or all its CPUs stopped and none does.
///
/// # Errors
///
/// That of the thread that failed.
pub fn first(listen: &Receiver<News>, cpus: usize) -> Result<End> {
    let mut gone = 0;
    while gone < cpus {
        match listen.recv() {
            Ok(Ok(Some(end))) => return Ok(end),
            Ok(Ok(None)) => gone += 1,
            Ok(Err(error)) => return Err(error),
            Err(_) => break,
        }
    }
    Ok(End::Crash("it is off, and no CPU says why".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::sync::mpsc::channel;

    fn first_of(all: &[News], cpus: usize) -> Result<End> {
        let (news, listen) = channel();
        for one in all {
            news.send(one.clone()).unwrap();
        }
        first(&listen, cpus)
    }

    #[test]
    fn who_knows_counts() {
        // A realm's other CPUs may come back before the one that turned it off.
        let off = Ok(Some(End::Off));
        assert_eq!(
            first_of(&[Ok(None), Ok(None), off.clone()], 3),
            Ok(End::Off)
        );
        assert_eq!(first_of(&[off, Ok(Some(End::Reset))], 2), Ok(End::Off));
        let error = Error::plain("no");
        assert_eq!(first_of(&[Ok(None), Err(error.clone())], 2), Err(error));
        let nobody = first_of(&[Ok(None), Ok(None), Ok(Some(End::Off))], 2);
        assert!(matches!(nobody, Ok(End::Crash(_))), "{nobody:?}");
    }

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
