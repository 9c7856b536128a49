// SPDX-License-Identifier: GPL-2.0

//! Taking a realm apart.
//!
//! The order, each step of which may be repeated and can be left and resumed:
//!
//! 1. [`super::Realm::terminate`]: no REC runs any more, so nothing is faulted in.
//! 2. The RECs.
//! 3. Protected memory goes back to whom it came from (`guest_memfd`); unprotected memory is simply
//!    forgotten, by an RMM that knows of the first step.
//! 4. [`destroy_tables`]: from the lowest level up, one command per table.
//! 5. [`super::Realm::destroy`], and the descriptor and the starting tables are the host's again.
//! 6. [`Rmi::write_off`]: what the RMM has kept in spite of all this is leaked.

use super::tables::Tables;
use crate::rmi::cmd::realm::RdName;
use crate::rmi::{Conduit, Delegated, Error, GranuleRange, Rmi, RttLevel};

/// Removes every table below the starting ones and hands its granule to `each`.
///
/// # Errors
///
/// The first refusal. The tables that the RMM keeps are struck out; the others are gone.
pub fn destroy_tables<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_>,
    mut each: impl FnMut(GranuleRange<Delegated>),
) -> Result<(), Error> {
    let mut result = Ok(());
    for level in [RttLevel::L3, RttLevel::L2, RttLevel::L1] {
        while let Some(table) = tables.set.any(level) {
            match tables.destroy(rmi, rd, table) {
                Ok(granule) => each(granule),
                Err(error) => {
                    tables.give_up(table);
                    result = result.and(Err(error));
                }
            }
            rmi.pause();
        }
    }
    result
}
