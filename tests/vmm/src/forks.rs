// SPDX-License-Identifier: GPL-2.0

//! A test of hosts: this process forks while its guest runs.
//!
//! Guest memory is private to this process: after a fork parent and child have the same pages, until one of
//! them stores to a page and gets another one for it. If that is us, the host has to take the old page from the
//! guest and to give it the new one. A guest that keeps the old one does not find what devices store for it, they
//! do not find what it stores, and the child, whose page it is then, sees it change.

use std::io;
use std::ptr;
use std::time::Duration;

use crate::error::{Error, Result, Trying};
use crate::layout::PAGE;
use crate::memory::Memory;

/// Words of a page.
const WORDS: usize = PAGE as usize / size_of::<u64>();
/// A child changes one of so many pages: each costs it a fault, and the guest is to get on with its work.
const STEP: usize = 8;

/// Forks once, and waits for the child's end. It looks at all of the guest memory that is there, then again
/// after `life`. Before, it changes some of the pages: others with each `number`.
///
/// # Errors
///
/// There can be no other process, or its memory was not its own.
pub fn fork(memory: &Memory, number: usize, life: Duration) -> Result<()> {
    let pages = memory.present().trying("mincore of guest memory")?;
    // SAFETY: Other threads may have had locks, and so the child calls nothing that takes one.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = i32::from(!is_alone(&pages, number, life));
        // SAFETY: Ends the child, and nothing else of it runs.
        unsafe { libc::_exit(status) };
    }
    if child == -1 {
        return Err(io::Error::last_os_error()).trying("fork");
    }
    let mut status = 0;
    // SAFETY: It writes the status.
    if unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
        return Err(io::Error::last_os_error()).trying("waitpid");
    }
    match status {
        0 => Ok(()),
        _ => Err(Error::plain(format!(
            "guest memory of a forked child is not its own: {status:#x}"
        ))),
    }
}

/// True if the child's memory stays as it makes it. It has no heap, no locks, and cannot panic.
fn is_alone(pages: &[*mut u64], number: usize, life: Duration) -> bool {
    for page in pages.iter().skip(number % STEP).step_by(STEP) {
        // SAFETY: They are pages of a mapping, which the child has as well.
        unsafe { page.write_volatile(!page.read_volatile()) };
    }
    let before = sum(pages);
    // CAST: It is short.
    // SAFETY: It looks at no files, only at the time.
    unsafe { libc::poll(ptr::null_mut(), 0, life.as_millis() as i32) };
    sum(pages) == before
}

/// A checksum in which all that is in the pages counts.
fn sum(pages: &[*mut u64]) -> u64 {
    let words = pages
        .iter()
        .flat_map(|page| (0..WORDS).map(|word| page.wrapping_add(word)));
    words.fold(0, |sum, word| {
        // SAFETY: As above.
        sum.rotate_left(1)
            .wrapping_add(unsafe { word.read_volatile() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::RAM;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use vm_memory::{Bytes, GuestAddress};

    const PAGES: u64 = 64;
    const SIZE: u64 = 2 * PAGES * PAGE;

    /// The last word of each page.
    fn words() -> impl Iterator<Item = GuestAddress> {
        (1..=PAGES).map(|page| GuestAddress(RAM + page * PAGE - 8))
    }

    /// Forks as often, while another thread stores one value after the other, and looks for what it has
    /// stored afterwards.
    fn fork_beside_stores(memory: &Memory, times: usize, life: Duration) -> Result<()> {
        let view = memory.seen_with(0).unwrap();
        let store = |value: u64| words().for_each(|at| view.write_obj(value, at).unwrap());
        let over = AtomicBool::new(false);
        store(0);
        let (result, last) = thread::scope(|scope| {
            let storing = scope.spawn(|| {
                let mut value = 0;
                while !over.load(Ordering::Relaxed) {
                    value += 1;
                    store(value);
                }
                value
            });
            let result = (0..times).try_for_each(|number| fork(memory, number, life));
            over.store(true, Ordering::Relaxed);
            (result, storing.join().unwrap())
        });
        for at in words() {
            assert_eq!(view.read_obj::<u64>(at).unwrap(), last);
        }
        result
    }

    #[test]
    fn children_have_what_was_there() {
        let memory = Memory::new(SIZE).unwrap();
        fork_beside_stores(&memory, 50, Duration::from_millis(2)).unwrap();
    }

    #[test]
    fn a_child_sees_what_others_store_to_its_pages() {
        let memory = Memory::that_children_share(SIZE).unwrap();
        let error = fork_beside_stores(&memory, 500, Duration::from_millis(20)).unwrap_err();
        assert!(error.to_string().contains("is not its own"), "{error}");
    }

    #[test]
    fn each_page_is_changed_by_one_child_of_some() {
        let memory = Memory::that_children_share(SIZE).unwrap();
        let view = memory.seen_with(0).unwrap();
        let begins = || (0..PAGES).map(|page| GuestAddress(RAM + page * PAGE));
        begins().for_each(|at| view.write_obj(at.0, at).unwrap());
        for number in 0..STEP {
            fork(&memory, number, Duration::ZERO).unwrap();
            let changed = begins().filter(|at| view.read_obj::<u64>(*at).unwrap() == !at.0);
            assert_eq!(changed.count(), (number + 1) * PAGES as usize / STEP);
        }
    }
}
