// SPDX-License-Identifier: GPL-2.0

//! The host's side of the puppet in a realm.

use core::fmt;

use kvm_arm_rmi::rmi::Fid;
use realm_payload::puppet;

use crate::console::say;
use crate::memory;
use crate::params::run;
use crate::probe::Probe;
use crate::show::reason;
use crate::world::Rec;

/// A REC on which a puppet waits for its next operation.
#[derive(Clone, Copy)]
pub(crate) struct Puppet {
    /// The REC.
    pub(crate) rec: Rec,
    /// IPA of a page of the payload's that may be written to.
    pub(crate) page: u64,
}

/// A call of the realm to the RMM, for printing.
struct RealmCall<'a> {
    name: &'a str,
    args: &'a [u64],
    results: &'a [u64],
}

impl fmt::Display for RealmCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        for arg in self.args {
            write!(f, " {arg:#x}")?;
        }
        f.write_str(" ->")?;
        for result in self.results {
            match *result as i64 {
                small @ -9..0 => write!(f, " {small}")?,
                _ => write!(f, " {result:#x}")?,
            }
        }
        Ok(())
    }
}

impl Probe {
    /// Runs a REC until its puppet is there.
    pub(crate) fn puppet(&mut self, rec: Rec) -> Puppet {
        self.must(Fid::REC_ENTER, &[rec.rec, rec.run]);
        let [_, page] = self.results(rec, puppet::READY);
        Puppet { rec, page }
    }

    /// Puts an operation into the next entry.
    pub(crate) fn order(&self, puppet: Puppet, operation: &[u64]) {
        for n in 0..31 {
            let value = operation.get(n).copied().unwrap_or(0);
            memory::write(puppet.rec.run + run::ENTER_GPRS + n as u64 * 8, value);
        }
    }

    /// Enters a REC and prints how it exited. `flags` and `x0` are what the host puts into the
    /// entry.
    pub(crate) fn enter(&mut self, rec: Rec, note: &str, flags: u64, x0: u64) {
        memory::write(rec.run + run::FLAGS, flags);
        memory::write(rec.run + run::ENTER_GPRS, x0);
        self.call_noted(Fid::REC_ENTER, &[rec.rec, rec.run], note);
        memory::write(rec.run + run::FLAGS, 0);
    }

    /// Has the puppet carry out an operation and prints the exit that comes of it.
    pub(crate) fn provoke(&mut self, puppet: Puppet, note: &str, flags: u64, operation: &[u64]) {
        self.order(puppet, operation);
        self.enter(puppet.rec, note, flags, operation[0]);
    }

    /// Has the puppet carry out an operation that needs nothing of the host, and returns results.
    pub(crate) fn ask<const N: usize>(&mut self, puppet: Puppet, operation: &[u64]) -> [u64; N] {
        self.order(puppet, operation);
        self.must(Fid::REC_ENTER, &[puppet.rec.rec, puppet.rec.run]);
        self.results(puppet.rec, puppet::DONE)
    }

    /// Has the puppet make an SMC that needs nothing of the host; prints it and the results X0 to
    /// X(N - 1).
    pub(crate) fn realm_call<const N: usize>(
        &mut self,
        puppet: Puppet,
        name: &str,
        args: &[u64],
    ) -> [u64; N] {
        let mut operation = [0; 19];
        operation[0] = puppet::SMC;
        operation[1..=args.len()].copy_from_slice(args);
        let results: [u64; N] = self.ask(puppet, &operation);
        let number = self.number();
        let call = RealmCall {
            name,
            args: &args[1..],
            results: &results,
        };
        say!("{number:04} {call}");
        results
    }

    /// The registers of a host call that must have this immediate.
    fn results<const N: usize>(&self, rec: Rec, imm: u64) -> [u64; N] {
        let get = |offset| memory::read(rec.run + offset);
        assert!(
            get(run::REASON) == reason::HOST_CALL && get(run::IMM) == imm,
            "no host call {imm:#x}, but exit {} of {:#x}, ESR {:#x}",
            get(run::REASON),
            get(run::EXIT_GPRS),
            get(run::ESR),
        );
        core::array::from_fn(|n| get(run::EXIT_GPRS + n as u64 * 8))
    }
}
