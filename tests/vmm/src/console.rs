// SPDX-License-Identifier: GPL-2.0

//! What the guest writes goes to standard output, and what we say to standard error. These are often one
//! terminal or one file, where each of our messages is to have lines of its own: a guest can be paused, or
//! end, in the middle of one.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the guest is in the middle of a line. There is one standard output.
static IN_LINE: AtomicBool = AtomicBool::new(false);

/// What shows the guest's output.
#[derive(Debug)]
pub struct Output<W>(W);

/// Standard output, for what the guest writes.
pub fn output() -> Output<io::Stdout> {
    Output(io::stdout())
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        if let Some(last) = bytes[..written].last() {
            IN_LINE.store(*last != b'\n', Ordering::Relaxed);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Says something on standard error, in lines of its own if the guest does not write at the same time:
/// nobody waits for it here.
pub fn say(what: impl Display) {
    // A terminal that has gone is no reason to stop.
    let _ = writeln!(io::stderr(), "{}realm-vmm: {what}", line_end());
}

/// Ends the guest's line, if it is in one.
fn line_end() -> &'static str {
    if IN_LINE.swap(false, Ordering::Relaxed) {
        "\n"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_the_guests_line_once() {
        let mut shown = Output(Vec::new());
        let mut after = |bytes: &[u8]| {
            shown.write_all(bytes).unwrap();
            line_end()
        };
        assert_eq!(after(b""), "");
        assert_eq!(after(b"tick"), "\n");
        assert_eq!(after(b""), "");
        assert_eq!(after(b"\ntick\n"), "");
        assert_eq!(after(b"\nti"), "\n");
        assert_eq!(shown.0, b"tick\ntick\n\nti");
    }
}
