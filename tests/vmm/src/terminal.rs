// SPDX-License-Identifier: GPL-2.0

//! The terminal that the guest is shown on, if it is one.

use std::io;
use std::mem::MaybeUninit;

/// The key that makes the next one ours: Ctrl-A.
const ESCAPE: u8 = 1;

/// The terminal's settings as they were, for the end.
pub struct Raw(Option<libc::termios>);

impl Raw {
    /// If standard input is a terminal, has it pass on every key as it is.
    ///
    /// # Errors
    ///
    /// The terminal does not want to.
    pub fn new() -> io::Result<Self> {
        let mut settings = MaybeUninit::uninit();
        // SAFETY: It writes one such structure, or fails.
        if unsafe { libc::tcgetattr(libc::STDIN_FILENO, settings.as_mut_ptr()) } != 0 {
            return Ok(Self(None));
        }
        // SAFETY: It was written.
        let before: libc::termios = unsafe { settings.assume_init() };
        let mut raw = before;
        // SAFETY: It changes the structure and nothing else.
        unsafe { libc::cfmakeraw(&raw mut raw) };
        // What is written is left as it was: our own messages end lines with one character.
        raw.c_oflag = before.c_oflag;
        set(&raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // There is nothing to be done about a terminal that has gone.
            let _ = set(before);
        }
    }
}

fn set(settings: &libc::termios) -> io::Result<()> {
    // SAFETY: It reads one such structure.
    match unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, settings) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What was typed.
#[derive(PartialEq, Eq, Debug)]
pub enum Typed {
    /// This is for the guest.
    Keys(Vec<u8>),
    /// The guest is to end.
    End,
}

/// Looks for the escape in what is typed.
#[derive(Default, Debug)]
pub struct Keys {
    escaped: bool,
}

impl Keys {
    /// More was typed.
    pub fn typed(&mut self, bytes: &[u8]) -> Typed {
        let mut keys = Vec::with_capacity(bytes.len());
        for byte in bytes {
            match (std::mem::take(&mut self.escaped), *byte) {
                (false, ESCAPE) => self.escaped = true,
                (true, b'x' | b'X') => return Typed::End,
                (_, key) => keys.push(key),
            }
        }
        Typed::Keys(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape() {
        let mut keys = Keys::default();
        assert_eq!(keys.typed(b"ax\x03"), Typed::Keys(b"ax\x03".to_vec()));
        assert_eq!(keys.typed(b"b\x01\x01c"), Typed::Keys(b"b\x01c".to_vec()));
        assert_eq!(keys.typed(b"\x01"), Typed::Keys(vec![]));
        assert_eq!(keys.typed(b"qx"), Typed::Keys(b"qx".to_vec()));
        assert_eq!(keys.typed(b"\x01"), Typed::Keys(vec![]));
        assert_eq!(keys.typed(b"x..."), Typed::End);
    }
}
