// SPDX-License-Identifier: GPL-2.0

//! Words with several fields, made and printed.

use core::fmt;

use crate::names::Names;

/// What lists are filled with before the RMM writes to them.
pub(crate) const UNTOUCHED: u64 = u64::MAX;

/// `RmiAddrRangeDesc4KB`: `count` pieces of memory of one size from an address on.
#[derive(Clone, Copy)]
pub(crate) struct Range(pub(crate) u64);

impl Range {
    /// `count` delegated pages.
    pub(crate) const fn pages(base: u64, count: u64) -> Self {
        Self(base | count << 2)
    }

    /// `count` delegated blocks of level 2.
    pub(crate) const fn blocks(base: u64, count: u64) -> Self {
        Self::pages(base, count).sized(1)
    }

    /// The same with another size: 0 is a page, 1 a level 2 block, 2 a level 1 block, 3 a level 0
    /// block.
    pub(crate) const fn sized(self, size: u64) -> Self {
        Self(self.0 & !3 | size)
    }

    /// The same range, undelegated.
    pub(crate) const fn undelegated(self) -> Self {
        Self(self.0 | 1 << 63)
    }

    /// The address.
    pub(crate) const fn base(self) -> u64 {
        self.0 & 0x000f_ffff_ffff_f000
    }

    /// How many pieces.
    pub(crate) const fn count(self) -> u64 {
        self.0 >> 2 & 0x3ff
    }

    /// For printing.
    pub(crate) fn show(self, names: &Names) -> impl fmt::Display + '_ {
        ShowRange(self, names)
    }
}

struct ShowRange<'a>(Range, &'a Names);

impl fmt::Display for ShowRange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(range, names) = self;
        match range.0 {
            0 => return f.write_str("0"),
            UNTOUCHED => return f.write_str("untouched"),
            _ => {}
        }
        write!(f, "{}*{}", names.address(range.base()), range.count())?;
        match range.0 & 3 {
            0 => {}
            size => write!(f, "@L{}", 3 - size)?,
        }
        match range.0 >> 52 {
            0 => Ok(()),
            0x800 => f.write_str("/undelegated"),
            other => write!(f, "/{other:#x}"),
        }
    }
}

/// The flags of the map and unmap commands, `RmiRttUnprotMapFlags` and its subsets.
#[derive(Clone, Copy)]
pub(crate) struct MapFlags(pub(crate) u64);

impl MapFlags {
    /// No output addresses.
    pub(crate) const NONE: Self = Self(0);
    /// One range descriptor.
    pub(crate) const SINGLE: Self = Self(1);
    /// An address type that there is not.
    pub(crate) const RESERVED: Self = Self(3);

    /// A list of range descriptors.
    pub(crate) const fn list(count: u64) -> Self {
        Self(2 | count << 2)
    }

    /// With a memory attribute.
    pub(crate) const fn attribute(self, attribute: u64) -> Self {
        Self(self.0 | attribute << 16)
    }

    /// With access permissions: bit 0 to write, bit 1 to read.
    pub(crate) const fn access(self, access: u64) -> Self {
        Self(self.0 | access << 19)
    }

    /// True if the flags call for a list.
    pub(crate) const fn is_list(self) -> bool {
        self.0 & 3 == 2
    }
}

impl fmt::Display for MapFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 & 3 {
            0 => "none",
            1 => "single",
            2 => "list",
            _ => "reserved",
        };
        f.write_str(text)?;
        match self.0 >> 2 & 0x3fff {
            0 => {}
            count => write!(f, ":{count}")?,
        }
        match self.0 >> 16 & 7 {
            0 => {}
            attribute => write!(f, ",attr={attribute}")?,
        }
        match self.0 >> 19 & 0xf {
            0 => {}
            access => write!(f, ",access={access}")?,
        }
        match self.0 >> 23 {
            0 => Ok(()),
            rest => write!(f, ",{:#x}", rest << 23),
        }
    }
}

/// `RmiOpMemDonateReq`: what memory an operation wants.
#[derive(Clone, Copy)]
pub(crate) struct Request(pub(crate) u64);

impl Request {
    /// How many pieces.
    pub(crate) const fn count(self) -> u64 {
        self.0 >> 2 & 0x3fff
    }

    /// True if it is what the probe can serve: delegated pages anywhere.
    pub(crate) const fn is_plain(self) -> bool {
        self.0 & !(0x3fff << 2) == 0
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*L{}", self.count(), 3 - (self.0 & 3))?;
        if self.0 & 1 << 16 != 0 {
            f.write_str("/contiguous")?;
        }
        match self.0 >> 17 & 3 {
            0 => {}
            1 => f.write_str("/undelegated")?,
            state => write!(f, "/state{state}")?,
        }
        match self.0 >> 19 {
            0 => Ok(()),
            rest => write!(f, "/{rest:#x}"),
        }
    }
}
