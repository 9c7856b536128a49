// SPDX-License-Identifier: GPL-2.0

//! How statuses, values and REC exits are printed.

use core::{fmt, iter};

use kvm_arm_rmi::rmi::{Fid, MemoryRequest, Regs, ReturnCode, Status};

use crate::descriptor::{MapFlags, Range, Request};
use crate::memory;
use crate::names::Names;
use crate::params::run;
use crate::probe::is_continuation;
use crate::signature::{self, Kind, When};

/// X0, with the parts that its status gives a meaning.
pub(crate) struct Code(pub(crate) ReturnCode);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.0;
        if code == ReturnCode::NOT_FORWARDED {
            return f.write_str("-1");
        }
        match code.status() {
            Status::Incomplete => {
                let wants = match code.memory_request() {
                    MemoryRequest::None => "nothing",
                    MemoryRequest::Donate => "donate",
                    MemoryRequest::Reclaim => "reclaim",
                    MemoryRequest::Unknown => "unknown",
                };
                write!(f, "Incomplete({wants}")?;
                if code.can_cancel() {
                    f.write_str(",cancel")?;
                }
                f.write_str(")")?;
            }
            Status::ErrorRtt => write!(f, "ErrorRtt({})", code.index())?,
            status => {
                write!(f, "{status:?}")?;
                if code.index() != 0 {
                    write!(f, "({})", code.index())?;
                }
            }
        }
        match code.raw() >> 16 {
            0 => Ok(()),
            rest => write!(f, "+{:#x}", rest << 16),
        }
    }
}

/// The end of a range is printed as its size if that is less.
const NEAR: u64 = 1 << 30;

/// A value, and what kind it is.
pub(crate) struct Value<'a> {
    /// The value.
    pub(crate) raw: u64,
    /// Its kind.
    pub(crate) kind: Kind,
    /// The argument before it; the first argument, if it is a result.
    pub(crate) before: u64,
    /// The names.
    pub(crate) names: &'a Names,
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            raw,
            kind,
            before,
            names,
        } = *self;
        match kind {
            Kind::Ranges if !MapFlags(before).is_list() => Range(raw).show(names).fmt(f),
            Kind::PaTop if raw > before && raw - before < NEAR => {
                write!(f, "+{:#x}", raw - before)
            }
            Kind::Pa | Kind::PaTop | Kind::Ranges => names.address(raw).fmt(f),
            Kind::Hex => write!(f, "{raw:#x}"),
            Kind::Dec => write!(f, "{}", raw as i64),
            Kind::Range => Range(raw).show(names).fmt(f),
            Kind::MapFlags => MapFlags(raw).fmt(f),
            Kind::Handle => names.handle(raw).fmt(f),
            Kind::Request => Request(raw).fmt(f),
        }
    }
}

/// A call and what came of it.
pub(crate) struct Call<'a> {
    /// The command.
    pub(crate) fid: Fid,
    /// Its arguments.
    pub(crate) args: &'a [u64],
    /// What matters of the structures that the arguments point to.
    pub(crate) note: &'a str,
    /// The results.
    pub(crate) regs: &'a Regs,
    /// The names.
    pub(crate) names: &'a Names,
}

impl Call<'_> {
    fn value(&self, raw: u64, kind: Kind, before: u64) -> Value<'_> {
        Value {
            raw,
            kind,
            before,
            names: self.names,
        }
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = ReturnCode::new(self.regs.x(0));
        let status = code.status();
        let incomplete = status == Status::Incomplete;
        let donate = incomplete && code.memory_request() == MemoryRequest::Donate;
        let signature = signature::of(self.fid);

        let absent = code == ReturnCode::NOT_FORWARDED && Fid::ONLY_1_0.contains(&self.fid);
        match self.fid.name() {
            // Nor is there a name for what the RMM's version does not have.
            _ if absent => write!(f, "{:#x}", self.fid.raw())?,
            "UNKNOWN" => write!(f, "{:#x}", self.fid.raw())?,
            name => f.write_str(name)?,
        }
        let before = iter::once(&0).chain(self.args);
        for (((name, kind), arg), before) in signature.inputs.iter().zip(self.args).zip(before) {
            write!(f, " {name}={}", self.value(*arg, *kind, *before))?;
        }
        if !self.note.is_empty() {
            write!(f, " {{{}}}", self.note)?;
        }
        write!(f, " -> {}", Code(code))?;

        if incomplete && !is_continuation(self.fid) {
            write!(f, " op={}", self.names.handle(self.regs.x(1)))?;
            if donate {
                write!(f, " wants={}", Request(self.regs.x(2)))?;
            }
            return Ok(());
        }
        let first = self.args.first().copied().unwrap_or(0);
        for (name, n, kind, when) in signature.outputs {
            let valid = match when {
                When::Always => code != ReturnCode::NOT_FORWARDED,
                When::Success => status == Status::Success,
                When::Walked => matches!(status, Status::Success | Status::ErrorRtt),
                When::Accepted => matches!(status, Status::Success | Status::Incomplete),
                When::Wanted => donate,
            };
            if valid {
                write!(f, " {name}={}", self.value(self.regs.x(*n), *kind, first))?;
            }
        }
        match (self.fid, status, self.args) {
            (Fid::REC_ENTER, Status::Success, [_, run, ..]) => write!(f, " {}", Exit(*run)),
            _ => Ok(()),
        }
    }
}

/// Exit reasons, `RmiRecExitReason`.
pub(crate) mod reason {
    /// An exception.
    pub(crate) const SYNC: u64 = 0;
    /// An interrupt.
    pub(crate) const IRQ: u64 = 1;
    /// A PSCI call.
    pub(crate) const PSCI: u64 = 3;
    /// A RIPAS change.
    pub(crate) const RIPAS: u64 = 4;
    /// A host call.
    pub(crate) const HOST_CALL: u64 = 5;

    /// The first reasons' names.
    pub(crate) const NAMES: [&str; 8] = [
        "Sync",
        "Irq",
        "Fiq",
        "Psci",
        "RipasChange",
        "HostCall",
        "SError",
        "S2apChange",
    ];
}

/// The exit half of the run page at this address: the fields that its reason gives a meaning, and
/// all registers that are not 0.
pub(crate) struct Exit(pub(crate) u64);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let get = |offset| memory::read(self.0 + offset);
        let why = get(run::REASON);
        match reason::NAMES.get(why as usize) {
            Some(name) => write!(f, "exit={name}")?,
            None => write!(f, "exit={why}")?,
        }
        let fields: &[(&str, u64)] = match why {
            reason::SYNC => &[("esr", run::ESR), ("far", run::FAR), ("hpfar", run::HPFAR)],
            reason::RIPAS => &[
                ("base", run::RIPAS_BASE),
                ("top", run::RIPAS_TOP),
                ("ripas", run::RIPAS_VALUE),
            ],
            reason::HOST_CALL => &[("imm", run::IMM)],
            _ => &[],
        };
        for (name, offset) in fields {
            write!(f, " {name}={:#x}", get(*offset))?;
        }
        for n in 0..31 {
            match get(run::EXIT_GPRS + n * 8) {
                0 => {}
                value => write!(f, " x{n}={value:#x}")?,
            }
        }
        Ok(())
    }
}
