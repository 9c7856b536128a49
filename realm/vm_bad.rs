// SPDX-License-Identifier: GPL-2.0

//! Looking for bad memory in what the RMM has for a realm: before each command that it is asked for one.
//!
//! There is nobody who tells which page has gone bad, but the host counts them: as long as there are no more of
//! them one load is all that it takes. What goes bad after that load the RMM may look at, as if it had gone bad
//! a little later.

use super::{
    dump::What,
    smc::Watch,
    table_map::MissingTable,
    vm::Vm, //
};
use crate::{
    rmi::{Fid, PhysAddr},
    sys::{
        memory,
        prelude::*, //
    }, //
};

impl Watch for Vm {
    fn may_ask(&self, fid: Fid, args: &[u64], may_sleep: bool) -> bool {
        self.look(may_sleep);
        self.bad.may_ask(fid, args)
    }
}

impl Vm {
    /// Looks for memory that the host knows to be bad in what the RMM has for the realm, but for what RECs were
    /// lent, if nobody has done so since it knows. The RMM is kept from it, and the realm is dead.
    ///
    /// Where a spinning lock is held this cannot wait for the list of what the RMM has: who has that is about to
    /// list something, or looks.
    pub fn look(&self, may_sleep: bool) {
        let known = memory::bad_pages();
        if !self.bad.is_news(known) {
            return;
        }
        let looked = self.objects.for_each(may_sleep, |granule, what| {
            if memory::is_bad(granule) && !self.is_gone(what) {
                self.found(granule, what);
            }
        });
        if looked {
            self.bad.looked(known);
        }
    }

    /// This has been made of a granule.
    pub fn made(&self, granule: PhysAddr, what: What) {
        self.objects.add(granule, what);
        // Who has looked before this was listed has not seen it.
        if memory::is_bad(granule) {
            self.found(granule, what);
        }
    }

    /// True of a table that is the RMM's no more, and may be listed still while the realm is taken apart.
    fn is_gone(&self, what: What) -> bool {
        match what {
            What::Rtt(level, ipa) if level != self.layout.start => {
                !self.tables.has(MissingTable { level, ipa })
            }
            _ => false,
        }
    }

    fn found(&self, granule: PhysAddr, what: What) {
        self.bad.object(granule, what);
        self.kill(fmt!(
            "the RMM has memory at {:#x} for it, which is bad",
            granule.raw()
        ));
    }
}
