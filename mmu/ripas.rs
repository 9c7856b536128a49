// SPDX-License-Identifier: GPL-2.0

//! RIPAS: what a realm takes its protected memory for.

use super::{Step, TableSet, Tables};
use crate::rmi::cmd::realm::RdName;
use crate::rmi::cmd::rec::RecName;
use crate::rmi::cmd::rtt;
use crate::rmi::{Conduit, Error, IpaRange, Protected, Rmi, RttLevel, Status};

/// Declares a range of a realm that is New to be RAM.
///
/// Entries are as coarse as the tables that are there. Where the range begins or ends inside of one
/// a finer table is needed.
pub fn init_ripas<C: Conduit, S: TableSet>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_, S>,
    range: IpaRange<Protected>,
) -> Step {
    change(rmi, tables, range, |part| rtt::init_ripas(rmi, rd, part))
}

/// Carries out a RIPAS change that a REC has asked for, as far as `range`, which begins where the
/// REC's request does.
pub fn set_ripas<C: Conduit, S: TableSet>(
    rmi: &Rmi<C>,
    rd: RdName,
    rec: RecName,
    tables: &Tables<'_, S>,
    range: IpaRange<Protected>,
) -> Step {
    change(rmi, tables, range, |part| {
        rtt::set_ripas(rmi, rd, rec, part)
    })
}

fn change<C: Conduit, S: TableSet>(
    rmi: &Rmi<C>,
    tables: &Tables<'_, S>,
    range: IpaRange<Protected>,
    command: impl Fn(IpaRange<Protected>) -> Result<u64, Error>,
) -> Step {
    let mut left = range;
    loop {
        let at = left.base();
        // Foreseeable: the entry that covers the base is larger than what is left, or does not
        // begin there.
        let block = tables.depth(at).block_size();
        let fits = at & block.wrapping_sub(1) == 0 && left.bytes() >= block;
        if let (false, Some(table)) = (fits, tables.missing(at, RttLevel::L3)) {
            return Step::NeedTable(at, table);
        }
        match command(left) {
            Ok(top) => match left.from(top) {
                Some(rest) => left = rest,
                None => return Step::Done,
            },
            Err(error) => {
                let table = tables.missing(at, RttLevel::L3);
                return match (error.status(), table) {
                    (Some(Status::ErrorRtt), Some(table)) => Step::NeedTable(at, table),
                    _ => Step::Failed(at, error),
                };
            }
        }
        rmi.pause();
    }
}
