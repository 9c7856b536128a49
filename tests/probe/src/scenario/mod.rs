// SPDX-License-Identifier: GPL-2.0

//! The walk: one file for each group of commands, in the order in which a host meets them.
//!
//! A scenario prepares what it needs without a word, makes its calls, most of them from tables, and
//! gives everything back.

mod before;
mod data;
mod enter;
mod granule;
mod list;
mod psci;
mod realm;
mod rec;
mod ripas;
mod rsi;
mod rtt;
mod running;
mod sro;
mod teardown;
mod unprot;
mod v1;
mod v1_memory;

use crate::probe::Probe;

/// Makes the walk on an RMM that speaks RMI 1.0: what it has of its own, and what it shares with 2.0.
pub(crate) fn run_v1(probe: &mut Probe) {
    v1::run(probe);
    rtt::run(probe);
    enter::run(probe);
    psci::run(probe);
}

/// Makes the whole walk.
pub(crate) fn run(probe: &mut Probe) {
    before::run(probe);
    granule::run(probe);
    realm::run(probe);
    rtt::run(probe);
    data::run(probe);
    list::run(probe);
    unprot::run(probe);
    ripas::run(probe);
    rec::run(probe);
    sro::run(probe);
    enter::run(probe);
    psci::run(probe);
    running::run(probe);
    rsi::run(probe);
    teardown::run(probe);
}
