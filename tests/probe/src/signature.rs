// SPDX-License-Identifier: GPL-2.0

//! What the arguments and results of each command are called, and how they are printed.

use kvm_arm_rmi::rmi::Fid;

/// How a value is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A physical address, by name.
    Pa,
    /// A physical address: how far it is from the argument before it, or from the first.
    PaTop,
    /// A number in hexadecimal: intermediate physical addresses among others.
    Hex,
    /// A number in decimal, with a sign.
    Dec,
    /// An address range descriptor.
    Range,
    /// [`Kind::Pa`] of a list or [`Kind::Range`], as the argument before it says.
    Ranges,
    /// The flags of a map or unmap command.
    MapFlags,
    /// The handle of an operation.
    Handle,
    /// A request for memory.
    Request,
}

/// When a result is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Whatever the status is.
    Always,
    /// With SUCCESS.
    Success,
    /// With SUCCESS or ERROR_RTT.
    Walked,
    /// With SUCCESS or INCOMPLETE.
    Accepted,
    /// With INCOMPLETE and a request to donate.
    Wanted,
}

/// A result: its name, its register, how it is printed, and when.
pub(crate) type Output = (&'static str, usize, Kind, When);

/// A command's arguments from X1 on, and its results.
pub(crate) struct Signature {
    /// The arguments.
    pub(crate) inputs: &'static [(&'static str, Kind)],
    /// The results, without those that all stateful operations have.
    pub(crate) outputs: &'static [Output],
}

/// The signature of a command.
pub(crate) fn of(fid: Fid) -> Signature {
    use Kind::{Dec, Handle, Hex, MapFlags, Pa, PaTop, Range, Ranges, Request};
    use When::{Accepted, Always, Success, Walked, Wanted};

    const RD: (&str, Kind) = ("rd", Pa);
    const REC: (&str, Kind) = ("rec", Pa);
    const IPA: (&str, Kind) = ("ipa", Hex);
    const LEVEL: (&str, Kind) = ("level", Dec);
    const BASE: (&str, Kind) = ("base", Hex);
    const TOP: (&str, Kind) = ("top", Hex);
    const FLAGS: (&str, Kind) = ("flags", MapFlags);
    const HANDLE: (&str, Kind) = ("op", Handle);
    const CONFIG: (&str, Kind) = ("config", Pa);
    const FROM: (&str, Kind) = ("base", Pa);
    const TO: (&str, Kind) = ("top", PaTop);
    const DONE_PA: Output = ("top", 1, PaTop, Success);
    const DONE: Output = ("top", 1, Hex, Success);
    const UNMAPPED: &[Output] = &[
        DONE,
        ("range", 2, Range, Success),
        ("entries", 3, Dec, Success),
    ];
    const RTT: Output = ("rtt", 1, Pa, Success);

    type Inputs = &'static [(&'static str, Kind)];
    let (inputs, outputs): (Inputs, &'static [Output]) = match fid {
        Fid::VERSION => (
            &[("version", Hex)],
            &[("lower", 1, Hex, Always), ("higher", 2, Hex, Always)],
        ),
        Fid::FEATURES => (&[("index", Dec)], &[("value", 1, Hex, Success)]),
        Fid::RMM_CONFIG_SET | Fid::RMM_CONFIG_GET => (&[CONFIG], &[]),
        Fid::GRANULE_TRACKING_GET => (
            &[FROM, TO],
            &[
                ("category", 1, Dec, Success),
                ("state", 2, Dec, Success),
                ("top", 3, PaTop, Success),
            ],
        ),
        Fid::GRANULE_RANGE_DELEGATE | Fid::GRANULE_RANGE_UNDELEGATE => (&[FROM, TO], &[DONE_PA]),
        Fid::GPT_L1_CREATE => (&[("base", Pa)], &[]),
        Fid::REALM_CREATE => (&[RD, ("params", Pa)], &[]),
        Fid::REALM_ACTIVATE | Fid::REALM_TERMINATE | Fid::REALM_DESTROY => (&[RD], &[]),
        Fid::REC_CREATE => (&[RD, REC, ("params", Pa)], &[]),
        Fid::REC_DESTROY => (&[REC], &[]),
        Fid::REC_ENTER => (&[REC, ("run", Pa)], &[]),
        Fid::PSCI_COMPLETE => (&[("calling", Pa), ("target", Pa), ("status", Dec)], &[]),
        Fid::RTT_CREATE => (&[RD, ("rtt", Pa), IPA, LEVEL], &[]),
        Fid::RTT_DESTROY => (&[RD, IPA, LEVEL], &[RTT, ("next", 2, Hex, Walked)]),
        Fid::RTT_FOLD => (&[RD, IPA, LEVEL], &[RTT]),
        Fid::RTT_READ_ENTRY => (
            &[RD, IPA, LEVEL],
            &[
                ("level", 1, Dec, Success),
                ("state", 2, Dec, Success),
                ("desc", 3, Pa, Success),
                ("ripas", 4, Dec, Success),
            ],
        ),
        Fid::RTT_INIT_RIPAS => (&[RD, BASE, TOP], &[DONE]),
        Fid::RTT_SET_RIPAS => (&[RD, REC, BASE, TOP], &[DONE]),
        Fid::RTT_DATA_MAP_INIT => (&[RD, ("data", Pa), IPA, ("src", Pa), ("measure", Dec)], &[]),
        Fid::RTT_DATA_MAP | Fid::RTT_UNPROT_MAP => {
            (&[RD, BASE, TOP, FLAGS, ("oaddr", Ranges)], &[DONE])
        }
        Fid::RTT_DATA_UNMAP | Fid::RTT_UNPROT_UNMAP => {
            (&[RD, BASE, TOP, FLAGS, ("list", Pa)], UNMAPPED)
        }
        Fid::GRANULE_DELEGATE | Fid::GRANULE_UNDELEGATE => (&[("granule", Pa)], &[]),
        Fid::REC_AUX_COUNT => (&[RD], &[("count", 1, Dec, Success)]),
        Fid::DATA_CREATE_UNKNOWN => (&[RD, ("data", Pa), IPA], &[]),
        Fid::DATA_DESTROY => (
            &[RD, IPA],
            &[("data", 1, Pa, Success), ("next", 2, Hex, Walked)],
        ),
        Fid::RTT_MAP_UNPROTECTED => (&[RD, IPA, LEVEL, ("desc", Hex)], &[]),
        Fid::RTT_UNMAP_UNPROTECTED => (&[RD, IPA, LEVEL], &[("next", 1, Hex, Walked)]),
        Fid::OP_CONTINUE => (&[HANDLE, ("flags", Dec)], &[]),
        Fid::OP_CANCEL => (&[HANDLE], &[]),
        Fid::OP_MEM_DONATE => (
            &[HANDLE, ("list", Pa), ("count", Dec)],
            &[("taken", 1, Dec, Accepted), ("wants", 2, Request, Wanted)],
        ),
        Fid::OP_MEM_RECLAIM => (
            &[HANDLE, ("list", Pa), ("count", Dec)],
            &[("entries", 1, Dec, Accepted)],
        ),
        _ => (&[], &[]),
    };
    Signature { inputs, outputs }
}
