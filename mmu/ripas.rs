// SPDX-License-Identifier: GPL-2.0

//! RIPAS: what a realm takes its protected memory for.

use super::Step;
use crate::realm::Tables;
use crate::rmi::cmd::realm::RdName;
use crate::rmi::cmd::rec::RecName;
use crate::rmi::cmd::rtt;
use crate::rmi::{Conduit, Error, IpaRange, Protected, Rmi, RttLevel, Status};

/// Declares a range of a realm that is New to be RAM, but for what was destroyed: memory that was
/// populated, and then taken away again. The realm must not find other memory in its place.
///
/// Entries are as coarse as the tables that are there. Where the range begins or ends inside of one
/// a finer table is needed.
pub fn init_ripas<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_>,
    range: IpaRange<Protected>,
) -> Step {
    let mut left = range;
    loop {
        let (at, error) = match change(rmi, tables, left, |part| rtt::init_ripas(rmi, rd, part)) {
            Step::Failed(at, error) => (at, error),
            step => return step,
        };
        let block = match kept(rmi, rd, tables, at, error) {
            Kept::Destroyed(level) => level.block_size(),
            Kept::Otherwise(step) => return step,
            // Nothing else is done with a realm that is New at the same time.
            Kept::Busy => return Step::Failed(at, error),
        };
        let next = (at & !block.wrapping_sub(1)).saturating_add(block);
        match left.from(next) {
            Some(rest) => left = rest,
            None => return Step::Done,
        }
        rmi.pause();
    }
}

/// Carries out a RIPAS change that a REC has asked for, as far as `range`, which begins where what is
/// left of the REC's request does.
///
/// [`Step::Failed`] with ERROR_RTT: what is there was destroyed, and the realm has not allowed for
/// that to change. [`Step::Until`] where the range begins: another CPU is at work there.
pub fn set_ripas<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    rec: RecName,
    tables: &Tables<'_>,
    range: IpaRange<Protected>,
) -> Step {
    let step = change(rmi, tables, range, |part| {
        rtt::set_ripas(rmi, rd, rec, part)
    });
    let Step::Failed(at, error) = step else {
        return step;
    };
    match kept(rmi, rd, tables, at, error) {
        Kept::Destroyed(_) => step,
        Kept::Otherwise(step) => step,
        Kept::Busy => Step::Until(at),
    }
}

/// Why the RMM keeps an entry as it is.
enum Kept {
    /// It was destroyed; it is at this level.
    Destroyed(RttLevel),
    /// What is to be done instead.
    Otherwise(Step),
    /// A command of another CPU's, which is not over, has it in its hands.
    Busy,
}

/// Looks at the entry at `at`, where the RMM has refused with `error`.
fn kept<C: Conduit>(rmi: &Rmi<C>, rd: RdName, tables: &Tables<'_>, at: u64, error: Error) -> Kept {
    if error.status() != Some(Status::ErrorRtt) {
        return Kept::Otherwise(Step::Failed(at, error));
    }
    match rtt::read_entry(rmi, rd, at, RttLevel::L3) {
        Ok(entry) if entry.destroyed => Kept::Destroyed(entry.level),
        Ok(_) => match tables.missing(at, RttLevel::L3) {
            // It was folded a moment ago.
            Some(table) => Kept::Otherwise(Step::NeedTable(at, table)),
            None => Kept::Busy,
        },
        Err(error) => Kept::Otherwise(Step::Failed(at, error)),
    }
}

fn change<C: Conduit>(
    rmi: &Rmi<C>,
    tables: &Tables<'_>,
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
            Err(error) => return Step::Failed(at, error),
        }
        rmi.pause();
    }
}
