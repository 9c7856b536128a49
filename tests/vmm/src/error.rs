// SPDX-License-Identifier: GPL-2.0

//! What goes wrong, for the person at the keyboard: what was tried, why it failed, and what to do.

use std::fmt;
use std::io;

/// The result of whatever can stop the VMM.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    what: String,
    advice: Option<String>,
}

impl Error {
    /// `what` was tried, and `why` it failed.
    pub fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self {
            what: format!("{what}: {why}"),
            advice: None,
        }
    }

    /// Something is as it must not be.
    pub fn plain(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            advice: None,
        }
    }

    /// The same with a line about what to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.what)?;
        match &self.advice {
            Some(advice) => write!(to, "\n  {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Says what was tried when it fails.
pub trait Trying<T> {
    /// `what` was tried: the name of an ioctl, or of a file.
    ///
    /// # Errors
    ///
    /// Whatever went wrong before.
    fn trying(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<io::Error>> Trying<T> for std::result::Result<T, E> {
    fn trying(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::new(what, error.into()))
    }
}
