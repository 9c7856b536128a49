// SPDX-License-Identifier: GPL-2.0

//! Memory that comes back in pieces, and goes on in as few as possible.

use super::{Delegated, GranuleRange};

/// Pieces that wait.
const WAITING: usize = 16;

/// Pieces of memory that wait for those that are next to them: all that are become one.
pub struct Pending<F: FnMut(GranuleRange<Delegated>)> {
    pieces: [Option<GranuleRange<Delegated>>; WAITING],
    /// The piece that has waited longest.
    oldest: usize,
    give: F,
}

impl<F: FnMut(GranuleRange<Delegated>)> Pending<F> {
    /// None yet. They are handed to `give`, the last of them when this is dropped.
    pub fn new(give: F) -> Self {
        Self {
            pieces: [const { None }; WAITING],
            oldest: 0,
            give,
        }
    }

    /// Adds a piece. If too many wait, the one that has waited longest goes on.
    pub fn add(&mut self, granules: GranuleRange<Delegated>) {
        let mut piece = granules;
        for waiting in &mut self.pieces {
            let Some(before) = waiting.take() else {
                continue;
            };
            match before.merge(piece) {
                Ok(merged) => piece = merged,
                Err((before, other)) => {
                    *waiting = Some(before);
                    piece = other;
                }
            }
        }
        if let Some(free) = self.pieces.iter_mut().find(|waiting| waiting.is_none()) {
            *free = Some(piece);
            return;
        }
        let longest = self.pieces.get_mut(self.oldest);
        let longest = longest.and_then(|waiting| waiting.replace(piece));
        self.oldest = self.oldest.wrapping_add(1) % WAITING;
        longest.into_iter().for_each(&mut self.give);
    }
}

impl<F: FnMut(GranuleRange<Delegated>)> Drop for Pending<F> {
    fn drop(&mut self) {
        for waiting in &mut self.pieces {
            waiting.take().into_iter().for_each(&mut self.give);
        }
    }
}
