// SPDX-License-Identifier: GPL-2.0

//! RSI_MEASUREMENT_READ and RSI_MEASUREMENT_EXTEND.

use zerocopy::{FromBytes, IntoBytes};

use super::{Answer, ERROR_INPUT, SUCCESS};
use crate::measurement::{Measurement, MAX_BYTES, RIM};
use crate::platform::Platform;
use crate::rec::Running;

/// Number of the register where the value for MEASUREMENT_EXTEND starts.
const EXTEND_VALUE: usize = 3;

impl<P: Platform> Running<'_, '_, P> {
    /// RSI_MEASUREMENT_READ. x1: 0 for the RIM, 1 to 4 for a REM.
    ///
    /// Returns the measurement in x1 to x8, with zeroes after the end of a short one. ERROR_INPUT: there
    /// is no measurement with that number.
    pub(super) fn measurement_read(&mut self) -> Answer {
        let slot = usize::try_from(self.gpr(1)).unwrap_or(usize::MAX);
        let Some(value) = self.with_rd(|rd| rd.measurements.get(slot).copied()) else {
            return Answer::code(ERROR_INPUT);
        };
        let registers = self.rec.context.gprs.iter_mut().skip(1);
        for (register, bytes) in registers.zip(value.chunks_exact(8)) {
            *register = u64::read_from_bytes(bytes).unwrap_or(0);
        }
        Answer::Return([SUCCESS, self.gpr(1), self.gpr(2), self.gpr(3)])
    }

    /// RSI_MEASUREMENT_EXTEND. x1: 1 to 4 for a REM. x2: bytes of the value, at most 64. x3 to x10: the
    /// value.
    ///
    /// ERROR_INPUT: there is no such REM, or the value is too long.
    pub(super) fn measurement_extend(&mut self) -> Answer {
        let slot = usize::try_from(self.gpr(1)).unwrap_or(usize::MAX);
        let size = usize::try_from(self.gpr(2)).unwrap_or(usize::MAX);
        let gprs = self.rec.context.gprs;
        let bytes = gprs
            .get(EXTEND_VALUE..)
            .and_then(|words| words.as_bytes().get(..MAX_BYTES))
            .and_then(|bytes| bytes.get(..size));
        let Some(value) = bytes else {
            return Answer::code(ERROR_INPUT);
        };
        let extended = self.with_rd(|rd| {
            let algorithm = rd.algorithm();
            let old: &mut Measurement = rd.measurements.get_mut(slot).filter(|_| slot != RIM)?;
            *old = algorithm.extend(old, value);
            Some(())
        });
        Answer::code(extended.map_or(ERROR_INPUT, |()| SUCCESS))
    }
}
