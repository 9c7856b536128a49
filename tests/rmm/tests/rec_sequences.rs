// SPDX-License-Identifier: GPL-2.0

//! Random sequences of what a host and a realm do with RECs. Whatever it is, the RMM must not fault,
//! nor stop, nor lose a granule.

mod common;

use std::collections::BTreeSet;

use common::guest::Host;
use common::{pa, Pas};
use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};
use proptest::prelude::*;
use rmm::rec::{Context, Trap};

/// Granules that the sequences are about. They follow those that the realm is made of.
const GRANULES: u64 = 40;
/// First of them.
const FIRST: u64 = 64;
/// The host's page with lists and parameters, and the one for REC_ENTER.
const SCRATCH: u64 = 3;
const RUN: u64 = 2;
/// A REC that is there from the beginning.
const REC: u64 = pa(24);

const INCOMPLETE: u64 = 13;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Delegate(u64),
    Undelegate(u64),
    RecCreate(u64, u64),
    RecDestroy(u64),
    /// A handle, and a descriptor.
    Donate(u64, u64),
    Reclaim(u64, u64),
    Continue(u64),
    Activate,
    Terminate,
    /// A REC, flags, and what the realm does.
    Enter(u64, u64, Vec<Act>),
    PsciComplete(u64, u64, u64),
    SetRipas(u64, u64, u64),
}

/// What a realm does.
#[derive(Clone, Debug)]
enum Act {
    Call(u64, [u64; 4]),
    Sync(u64, u64),
    Irq,
    SError(u64),
    Timer(u64, u64),
}

/// A granule of the sequences, by its number; now and then something else.
fn granule() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => (FIRST..FIRST + GRANULES).prop_map(pa),
        1 => (0..FIRST).prop_map(pa),
        1 => any::<u64>(),
    ]
}

/// A protected or unprotected IPA, with or without memory; mostly aligned.
fn ipa() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (0..8u64).prop_map(|n| n * GRANULE_SIZE),
        2 => (0..8u64).prop_map(|n| n * GRANULE_SIZE + 0x100),
        1 => (0..4u64).prop_map(|n| n << 31),
        1 => any::<u64>(),
    ]
}

/// A REC, or something that could be one.
fn rec() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(REC), 1 => granule()]
}

fn act() -> impl Strategy<Value = Act> {
    let function = prop_oneof![
        // But for the one that signs a token, which takes its time.
        4 => (0..11u64).prop_map(|n| 0xc400_0190 + n + u64::from(n >= 5)),
        4 => (0..12u64).prop_map(|n| 0x8400_0000 + n),
        2 => (0..12u64).prop_map(|n| 0xc400_0000 + n),
        1 => any::<u64>(),
    ];
    let arguments = prop::array::uniform4(prop_oneof![ipa(), 0..4u64, any::<u64>()]);
    let class = prop_oneof![
        4 => Just(0x24u64), 2 => Just(0x20), 4 => Just(0x18), 1 => 0..64u64,
    ];
    prop_oneof![
        6 => (function, arguments).prop_map(|(function, args)| Act::Call(function, args)),
        4 => (class, any::<u64>(), ipa()).prop_map(|(class, iss, ipa)| {
            // External aborts that nobody survives are left out.
            let external = matches!(class, 0x20 | 0x24) && matches!(iss & 0x3f, 0x10 | 0x13..=0x17);
            let iss = if external { iss | 3 << 11 } else { iss };
            Act::Sync(class << 26 | iss & 0x1ff_ffff, ipa >> 8)
        }),
        1 => Just(Act::Irq),
        1 => prop::sample::select(vec![1u64, 2, 3, 6]).prop_map(|aet| Act::SError(aet << 10 | 0x11)),
        1 => (0..8u64, any::<u64>()).prop_map(|(ctl, cval)| Act::Timer(ctl, cval)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let range = (granule(), prop_oneof![0..4u64, Just(16), Just(1 << 8)])
        .prop_map(|(pa, count)| pa & !0xfff | count << 2);
    let mpidr = prop_oneof![4 => 0..4u64, 1 => any::<u64>()];
    let code = prop_oneof![4 => Just(0u64), 1 => Just(-3i64 as u64), 1 => any::<u64>()];
    prop_oneof![
        8 => granule().prop_map(Step::Delegate),
        2 => granule().prop_map(Step::Undelegate),
        4 => (granule(), mpidr).prop_map(|(pa, mpidr)| Step::RecCreate(pa, mpidr)),
        1 => rec().prop_map(Step::RecDestroy),
        8 => (0..4u64, range).prop_map(|(handle, range)| Step::Donate(handle, range)),
        4 => (0..4u64, 0..8u64).prop_map(|(handle, count)| Step::Reclaim(handle, count)),
        4 => (0..4u64).prop_map(Step::Continue),
        2 => Just(Step::Activate),
        1 => Just(Step::Terminate),
        16 => (rec(), prop_oneof![Just(0), 0..32u64], prop::collection::vec(act(), 0..4))
            .prop_map(|(pa, flags, acts)| Step::Enter(pa, flags, acts)),
        2 => (rec(), granule(), code).prop_map(|(a, b, code)| Step::PsciComplete(a, b, code)),
        2 => (rec(), ipa(), ipa()).prop_map(|(pa, base, top)| Step::SetRipas(pa, base, top)),
    ]
}

fn play(act: Act) -> impl FnOnce(&mut Context) -> Trap + Send + 'static {
    move |ctx| match act {
        Act::Call(function, args) => {
            ctx.gprs[0] = function;
            ctx.gprs[1..5].copy_from_slice(&args);
            common::guest::trap(common::guest::SMC)
        }
        Act::Sync(esr, hpfar) => Trap::Sync { esr, far: 0, hpfar },
        Act::Irq => Trap::Irq,
        Act::SError(esr) => Trap::SError { esr },
        Act::Timer(ctl, cval) => {
            ctx.timers.cntv_ctl = ctl;
            ctx.timers.cntv_cval = cval;
            Trap::Fiq
        }
    }
}

/// What the host knows: granules of RECs that it has begun to make.
struct Player {
    host: Host,
    begun: BTreeSet<u64>,
}

impl Player {
    fn play(&mut self, step: Step) {
        let host = &self.host;
        let one = |fid, pa: u64| host.call(fid, &[pa, pa.wrapping_add(GRANULE_SIZE)]);
        match step {
            Step::Delegate(pa) if pa == common::pa(SCRATCH) || pa == common::pa(RUN) => {}
            Step::Delegate(pa) => drop(one(Fid::GRANULE_RANGE_DELEGATE, pa)),
            Step::Undelegate(pa) => drop(one(Fid::GRANULE_RANGE_UNDELEGATE, pa)),
            Step::RecCreate(pa, mpidr) => {
                host.rec_params(mpidr, mpidr % 2 == 0);
                let code = host.status(Fid::REC_CREATE, &[host.rd(), pa, host.scratch()]);
                if code & 0xff == INCOMPLETE {
                    self.begun.insert(pa);
                }
            }
            Step::RecDestroy(pa) => drop(host.status(Fid::REC_DESTROY, &[pa])),
            Step::Donate(handle, range) => drop(host.donate(handle, &[range])),
            Step::Reclaim(handle, count) => {
                let list = host.scratch() + 0x800;
                host.status(Fid::OP_MEM_RECLAIM, &[handle, list, count]);
            }
            Step::Continue(handle) => drop(host.status(Fid::OP_CONTINUE, &[handle, 0])),
            Step::Activate => drop(host.status(Fid::REALM_ACTIVATE, &[host.rd()])),
            Step::Terminate => drop(host.status(Fid::REALM_TERMINATE, &[host.rd()])),
            Step::Enter(pa, flags, acts) => {
                for act in acts {
                    host.fake().cpu.then(play(act));
                }
                host.enter_with(pa, flags, &[1, 2, 3]);
                host.fake().cpu.forget();
            }
            Step::PsciComplete(a, b, code) => drop(host.status(Fid::PSCI_COMPLETE, &[a, b, code])),
            Step::SetRipas(pa, base, top) => {
                host.status(Fid::RTT_SET_RIPAS, &[host.rd(), pa, base, top]);
            }
        }
    }

    /// Ends every operation, whatever it waits for.
    fn finish(&self) {
        let host = &self.host;
        let list = host.scratch() + 0x800;
        for handle in 0..160 {
            // What wants memory gets something that is none, and gives back what it has.
            host.donate(handle, &[host.run_page() | 1 << 2]);
            while host.status(Fid::OP_MEM_RECLAIM, &[handle, list, 16]) & 0xff == INCOMPLETE {}
            let code = host.status(Fid::OP_CONTINUE, &[handle, 0]);
            if code & 0xff == INCOMPLETE {
                while host.status(Fid::OP_MEM_RECLAIM, &[handle, list, 16]) & 0xff == INCOMPLETE {}
                host.status(Fid::OP_CONTINUE, &[handle, 0]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn no_granule_is_lost(steps in prop::collection::vec(step(), 1..80)) {
        let host = Host::new();
        prop_assert_eq!(host.rec(0), REC);
        let mut player = Player { host, begun: BTreeSet::from([REC]) };
        // Something to begin with.
        for n in 0..GRANULES / 2 {
            player.play(Step::Delegate(pa(FIRST + n)));
        }
        for step in steps {
            player.play(step);
        }
        player.finish();
        for rec in &player.begun {
            let regs = player.host.call(Fid::REC_DESTROY, &[*rec]);
            if regs.x(0) & 0xff == INCOMPLETE {
                player.host.reclaim(regs.x(1));
                player.host.ok(Fid::OP_CONTINUE, &[regs.x(1), 0]);
            }
        }
        for n in FIRST..FIRST + GRANULES {
            if player.host.fake().pas(pa(n)) == Pas::Realm {
                player.host.ok(Fid::GRANULE_RANGE_UNDELEGATE, &[pa(n), pa(n + 1)]);
            }
        }
    }
}
