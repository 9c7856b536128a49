// SPDX-License-Identifier: GPL-2.0

//! RIPAS changes: the realm says what it takes its memory for.

use super::exception::Malformed;
use crate::rmi::run;
use crate::rmi::{IpaRange, IpaSpace, Protected, SharedPage};

/// What a realm can ask to take its memory for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ripas {
    /// Nothing.
    Empty,
    /// Memory.
    Ram,
}

/// A change that a realm asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RipasChange {
    /// What is to change. It may be the whole protected half.
    pub range: IpaRange<Protected>,
    /// What it is to become.
    pub ripas: Ripas,
}

impl RipasChange {
    /// # Errors
    ///
    /// The range is none, or the realm cannot ask for this.
    pub(super) fn decode<P: SharedPage>(
        report: &run::Exit<'_, P>,
        space: IpaSpace,
    ) -> Result<Self, Malformed> {
        let (base, top) = (report.ripas_base(), report.ripas_top());
        let value = report.ripas_value();
        let ripas = match value {
            0 => Some(Ripas::Empty),
            1 => Some(Ripas::Ram),
            _ => None,
        };
        match (space.protected(base, top), ripas) {
            (Some(range), Some(ripas)) => Ok(Self { range, ripas }),
            _ => Err(Malformed::Ripas { base, top, value }),
        }
    }
}
