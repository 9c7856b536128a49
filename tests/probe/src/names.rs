// SPDX-License-Identifier: GPL-2.0

//! Names for addresses and handles, so that what the probe prints does not depend on them.

use core::fmt;

use kvm_arm_rmi::rmi::GRANULE_SIZE;

use crate::layout;

/// Names that a scenario can give.
const MAX_NAMES: usize = 64;
/// Operations that a scenario can begin.
const MAX_HANDLES: usize = 128;

/// A name: of one thing of `unit` bytes, or of several of them in a row, which are numbered.
#[derive(Clone, Copy)]
struct Name {
    text: &'static str,
    base: u64,
    size: u64,
    unit: u64,
}

const fn page(text: &'static str, base: u64) -> Name {
    Name {
        text,
        base,
        size: GRANULE_SIZE,
        unit: GRANULE_SIZE,
    }
}

/// What every scenario knows.
const FIXED: [Name; 5] = [
    page("UART", layout::UART),
    page("RMM", layout::RMM),
    page("HOLE", layout::HOLE),
    page("BEYOND", layout::BEYOND),
    Name {
        text: "PAYLOAD",
        base: realm_payload::BASE,
        size: realm_payload::PAGES * GRANULE_SIZE,
        unit: realm_payload::PAGES * GRANULE_SIZE,
    },
];

/// The names in use.
pub(crate) struct Names {
    names: [Name; MAX_NAMES],
    count: usize,
    handles: [u64; MAX_HANDLES],
    handle_count: usize,
}

impl Names {
    /// Only the fixed ones.
    pub(crate) const fn new() -> Self {
        Self {
            names: [page("", 0); MAX_NAMES],
            count: 0,
            handles: [0; MAX_HANDLES],
            handle_count: 0,
        }
    }

    /// Forgets all but the fixed ones.
    pub(crate) fn reset(&mut self) {
        self.count = 0;
        self.handle_count = 0;
    }

    /// Names `count` things of `unit` bytes from `base` on.
    pub(crate) fn add(&mut self, text: &'static str, base: u64, count: u64, unit: u64) {
        self.names[self.count] = Name {
            text,
            base,
            size: count * unit,
            unit,
        };
        self.count += 1;
    }

    /// Names the handle of an operation that has begun.
    pub(crate) fn add_handle(&mut self, handle: u64) {
        self.handles[self.handle_count] = handle;
        self.handle_count += 1;
    }

    /// An address as people want to see it.
    pub(crate) fn address(&self, address: u64) -> Address<'_> {
        Address {
            names: self,
            address,
        }
    }

    /// A handle as people want to see it: by the order in which operations began.
    pub(crate) fn handle(&self, handle: u64) -> Handle {
        let known = &self.handles[..self.handle_count];
        Handle {
            number: known.iter().rposition(|known| *known == handle),
            handle,
        }
    }
}

/// An address: a name, the number of an element, the distance from its start; or the bare number.
pub(crate) struct Address<'a> {
    names: &'a Names,
    address: u64,
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = &self.names.names[..self.names.count];
        let found = given.iter().chain(&FIXED).find_map(|name| {
            let distance = self.address.checked_sub(name.base)?;
            (distance < name.size).then_some((name, distance))
        });
        let Some((name, distance)) = found else {
            return write!(f, "{:#x}", self.address);
        };
        f.write_str(name.text)?;
        if name.size > name.unit {
            write!(f, "{}", distance / name.unit)?;
        }
        match distance % name.unit {
            0 => Ok(()),
            rest => write!(f, "+{rest:#x}"),
        }
    }
}

/// The handle of an operation.
pub(crate) struct Handle {
    number: Option<usize>,
    handle: u64,
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "op{number}"),
            None => write!(f, "{:#x}", self.handle),
        }
    }
}
