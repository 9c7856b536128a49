// SPDX-License-Identifier: GPL-2.0

//! How far something is that takes a while, on standard error.

use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::end::News;
use crate::error::Result;

/// Where to show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Show {
    /// Nowhere.
    Nothing,
    /// A line for each tenth.
    Lines,
    /// A bar that grows.
    Bar,
}

/// Something that takes a while.
#[derive(Debug)]
pub struct Progress {
    name: &'static str,
    show: Show,
    total: u64,
    done: u64,
    shown: u64,
    began: Instant,
}

impl Progress {
    /// `total` bytes of it are to be done.
    pub fn new(name: &'static str, total: u64, quiet: bool) -> Self {
        let show = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Show::Nothing,
            (false, false) => Show::Lines,
            (false, true) => Show::Bar,
        };
        Self {
            name,
            show,
            total,
            done: 0,
            shown: 0,
            began: Instant::now(),
        }
    }

    /// So many more bytes are done.
    pub fn advance(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes).min(self.total);
        let tenths = part(self.done, self.total, 10);
        let line = || line(self.name, self.done, self.total, self.began.elapsed());
        // A terminal that has gone is no reason to stop.
        let _ = match self.show {
            Show::Bar => {
                let end = if self.done == self.total { "\n" } else { "" };
                write!(
                    io::stderr(),
                    "\r{} {}{end}",
                    bar(self.done, self.total),
                    line()
                )
            }
            Show::Lines if tenths > self.shown => writeln!(io::stderr(), "{}", line()),
            Show::Lines | Show::Nothing => Ok(()),
        };
        self.shown = tenths;
    }

    /// Does `range` in pieces of at most `size` bytes; `piece` is given the start and the size of each.
    /// If there is news meanwhile, that is a reason to stop, and is returned.
    ///
    /// # Errors
    ///
    /// Those of `piece`.
    pub fn in_pieces(
        &mut self,
        range: &Range<u64>,
        size: u64,
        listen: &Receiver<News>,
        mut piece: impl FnMut(u64, u64) -> Result<()>,
    ) -> Result<Option<News>> {
        let mut next = range.start;
        while next < range.end {
            if let Ok(news) = listen.try_recv() {
                return Ok(Some(news));
            }
            let size = size.min(range.end - next);
            piece(next, size)?;
            self.advance(size);
            next += size;
        }
        Ok(None)
    }

    /// How long it took so far.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// How many of `parts` equal parts are done.
fn part(done: u64, total: u64, parts: u64) -> u64 {
    match total {
        0 => parts,
        _ => (u128::from(done) * u128::from(parts) / u128::from(total)) as u64,
    }
}

/// A picture of it.
fn bar(done: u64, total: u64) -> String {
    const WIDTH: usize = 24;
    let full = part(done, total, WIDTH as u64) as usize;
    format!("[{}{}]", "#".repeat(full), ".".repeat(WIDTH - full))
}

/// The same in words.
fn line(name: &str, done: u64, total: u64, time: Duration) -> String {
    const MIB: f64 = (1 << 20) as f64;
    let rate = match time.as_secs_f64() {
        seconds if seconds > 0.0 => done as f64 / MIB / seconds,
        _ => 0.0,
    };
    format!(
        "{name}: {:3} % of {:.1} MiB, {rate:6.1} MiB/s",
        part(done, total, 100),
        total as f64 / MIB
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_and_words() {
        assert_eq!(bar(0, 4), format!("[{}]", ".".repeat(24)));
        assert_eq!(bar(2, 4), format!("[{}{}]", "#".repeat(12), ".".repeat(12)));
        assert_eq!(bar(4, 4), format!("[{}]", "#".repeat(24)));
        assert_eq!(bar(0, 0), format!("[{}]", "#".repeat(24)));
        assert_eq!(
            line("populate", 8 << 20, 16 << 20, Duration::from_secs(2)),
            "populate:  50 % of 16.0 MiB,    4.0 MiB/s"
        );
        assert_eq!(
            line("populate", 0, 1 << 20, Duration::ZERO),
            "populate:   0 % of 1.0 MiB,    0.0 MiB/s"
        );
        assert_eq!(part(u64::MAX, u64::MAX, 100), 100);
    }

    #[test]
    fn never_more_than_all() {
        let mut progress = Progress::new("test", 10, true);
        progress.advance(7);
        progress.advance(7);
        assert_eq!(progress.done, 10);
        assert_eq!(progress.shown, 10);
    }
}
