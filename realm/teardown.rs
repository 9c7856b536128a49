// SPDX-License-Identifier: GPL-2.0

//! Taking a realm apart.
//!
//! The order, each step of which may be repeated and can be left and resumed:
//!
//! 1. [`super::Realm::terminate`]: no REC runs any more, so nothing is faulted in.
//! 2. The RECs.
//! 3. [`unmap_all`]: protected memory goes back to whom it came from, in as few commands as lists
//!    allow; unprotected memory is simply forgotten.
//! 4. [`destroy_tables`]: from the lowest level up, one command per table.
//! 5. [`super::Realm::destroy`], and the descriptor and the starting tables are the host's again.
//! 6. [`Rmi::write_off`]: what the RMM has kept in spite of all this is leaked.

use crate::mmu::{unmap_protected, unmap_unprotected, Step, TableSet, Tables};
use crate::rmi::cmd::realm::RdName;
use crate::rmi::{Conduit, Delegated, Error, GranuleRange, IpaSpace, Rmi, RttLevel, SharedPage};

/// Unmaps everything; protected memory is handed to `each`, still delegated.
pub fn unmap_all<C: Conduit, S: TableSet>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_, S>,
    space: IpaSpace,
    list: &mut impl SharedPage,
    each: impl FnMut(GranuleRange<Delegated>),
) -> Step {
    if let Some(all) = space.all_protected() {
        match unmap_protected(rmi, rd, tables, all, list, each) {
            Step::Done => {}
            other => return other,
        }
    }
    match space.all_unprotected() {
        Some(all) => unmap_unprotected(rmi, rd, tables, all, all),
        None => Step::Done,
    }
}

/// Removes every table below the starting ones and hands its granule to `each`.
///
/// # Errors
///
/// The first refusal. The tables that the RMM keeps are struck out; the others are gone.
pub fn destroy_tables<C: Conduit, S: TableSet>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_, S>,
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
