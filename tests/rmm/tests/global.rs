// SPDX-License-Identifier: GPL-2.0

//! VERSION, FEATURES, RMM_CONFIG_GET, RMM_CONFIG_SET, RMM_ACTIVATE, and calls to nothing at all.

mod common;

use common::{pa, Machine, BANK2, OWN, RAM, RAM_TOP, UART};
use kvm_arm_rmi::rmi::{Fid, Regs, Status};
use rmm::features::{feature_register, CpuId};
use rmm::platform::GRANULE_WORDS;
use rmm::rmi::State;

const V2_0: u64 = 0x2_0000;

#[test]
fn version_2_0_is_supported() {
    Machine::new().expect(Fid::VERSION, [V2_0], Status::Success, [V2_0, V2_0]);
}

#[test]
fn other_versions_are_refused_with_what_is_supported() {
    for wanted in [
        0,
        0x1_0000,
        0x1_0001,
        0x2_0001,
        0x3_0000,
        V2_0 | 1 << 32,
        u64::MAX,
    ] {
        Machine::new().expect(Fid::VERSION, [wanted], Status::ErrorInput, [V2_0, V2_0]);
    }
}

#[test]
fn features_are_those_of_the_cpu() {
    let machine = Machine::new();
    // S2SZ 52, LPA2, 6 breakpoints, 4 watchpoints.
    machine.expect(Fid::FEATURES, [0], Status::Success, [0x31_4134]);
    // 4 KiB granules, SHA-256 and SHA-512, up to 1023 RECs, L0GPTSZ 30 bits, PPS 48 bits.
    machine.expect(Fid::FEATURES, [1], Status::Success, [0x1_42a9]);
    for index in [2, 3, 4] {
        machine.expect(Fid::FEATURES, [index], Status::Success, [0]);
    }
}

#[test]
fn features_beyond_the_last_register_are_zero() {
    for index in [5, 6, 1 << 32, u64::MAX] {
        Machine::new().expect(Fid::FEATURES, [index], Status::Success, [0]);
    }
}

#[test]
fn ipa_size_follows_the_physical_address_range() {
    let s2sz = |mmfr0| {
        feature_register(
            &CpuId {
                mmfr0,
                ..CpuId::default()
            },
            0,
        ) & 0xff
    };
    let sizes: Vec<u64> = (0..=7).map(s2sz).collect();
    assert_eq!(sizes, [32, 36, 40, 42, 44, 48, 48, 48]);
}

/// 52 bits take FEAT_LPA2 at stage 1; realms have it if stage 2 has it too. What the register has there is
/// the value of TGran4_2, and of TGran4.
#[test]
fn lpa2_takes_both_stages() {
    let of = |at_stage2: u64, at_stage1: u64, pa_range| {
        let cpu = CpuId {
            mmfr0: at_stage2 << 40 | at_stage1 << 28 | pa_range,
            ..CpuId::default()
        };
        feature_register(&cpu, 0) & 0x1ff
    };
    const LPA2: u64 = 1 << 8;
    assert_eq!(of(3, 1, 6), LPA2 | 52);
    assert_eq!(of(0, 1, 6), LPA2 | 52);
    assert_eq!(of(0, 1, 5), LPA2 | 48);
    assert_eq!(of(2, 1, 6), 52);
    assert_eq!(of(1, 1, 6), 52);
    assert_eq!(of(3, 0, 6), 48);
    assert_eq!(of(0, 0, 6), 48);
    assert_eq!(of(0, 15, 6), 48);
}

#[test]
fn sixteen_or_more_breakpoints_are_counted_in_the_second_register() {
    let full = CpuId {
        dfr0: 0xf0_f000,
        dfr1: 0x1f_2f00,
        mmfr0: 5,
        ..CpuId::default()
    };
    assert_eq!(feature_register(&full, 0), 0x1f << 20 | 0x2f << 14 | 48);
    let old = CpuId { dfr1: 0, ..full };
    assert_eq!(feature_register(&old, 0), 0xf << 20 | 0xf << 14 | 48);
}

#[test]
fn config_get_fills_the_whole_granule() {
    let machine = Machine::new();
    machine.fake().host_write(pa(1), &[u64::MAX; GRANULE_WORDS]);
    machine.expect(Fid::RMM_CONFIG_GET, [pa(1)], Status::Success, []);
    assert_eq!(machine.fake().data(pa(1)), [0; GRANULE_WORDS]);
}

#[test]
fn config_set_takes_the_only_configuration() {
    let machine = Machine::new();
    let mut config = [0; GRANULE_WORDS];
    config[2..].fill(u64::MAX);
    machine.fake().host_write(pa(1), &config);
    machine.expect(Fid::RMM_CONFIG_SET, [pa(1)], Status::Success, []);
    machine.expect(Fid::RMM_CONFIG_SET, [pa(1)], Status::Success, []);
    assert_eq!(machine.rmm.state(), State::Init);
}

#[test]
fn config_set_refuses_every_other_configuration() {
    let machine = Machine::new();
    for (word, value) in [(0, 1), (0, u64::MAX), (1, 1), (1, 2), (1, 1 << 32)] {
        let mut config = [0; GRANULE_WORDS];
        config[word] = value;
        machine.fake().host_write(pa(1), &config);
        machine.expect(Fid::RMM_CONFIG_SET, [pa(1)], Status::ErrorInput, []);
    }
}

#[test]
fn config_must_be_in_a_granule_of_the_hosts() {
    let machine = Machine::active();
    machine.expect(
        Fid::GRANULE_RANGE_DELEGATE,
        [pa(1), pa(2)],
        Status::Success,
        [pa(2)],
    );
    let inactive = Machine::new();
    for bad in [
        0,
        8,
        pa(2) + 8,
        OWN.start,
        OWN.end - 0x1000,
        UART,
        RAM - 0x1000,
        RAM_TOP,
        !0xfff,
    ] {
        machine.expect(Fid::RMM_CONFIG_GET, [bad], Status::ErrorInput, []);
        inactive.expect(Fid::RMM_CONFIG_GET, [bad], Status::ErrorInput, []);
        inactive.expect(Fid::RMM_CONFIG_SET, [bad], Status::ErrorInput, []);
    }
    machine.expect(Fid::RMM_CONFIG_GET, [pa(1)], Status::ErrorInput, []);
    for good in [RAM, BANK2, RAM_TOP - 0x1000] {
        machine.expect(Fid::RMM_CONFIG_GET, [good], Status::Success, []);
    }
}

#[test]
fn activate_works_once() {
    let machine = Machine::new();
    assert_eq!(machine.rmm.state(), State::Init);
    machine.expect(Fid::RMM_ACTIVATE, [], Status::Success, []);
    assert_eq!(machine.rmm.state(), State::Active);
    machine.expect(Fid::RMM_ACTIVATE, [], Status::ErrorGlobal, []);
}

#[test]
fn one_of_many_cpus_activates() {
    let machine = Machine::new();
    let success = |regs: Regs| usize::from(regs.x(0) == 0);
    let activated: usize = std::thread::scope(|scope| {
        let cpus: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| success(machine.call(Fid::RMM_ACTIVATE, &[]))))
            .collect();
        cpus.into_iter().map(|cpu| cpu.join().unwrap()).sum()
    });
    assert_eq!(activated, 1);
}

#[test]
fn configuration_ends_with_activation() {
    let machine = Machine::active();
    machine.expect(Fid::RMM_CONFIG_SET, [pa(1)], Status::ErrorGlobal, []);
    machine.expect(Fid::RMM_CONFIG_SET, [0], Status::ErrorGlobal, []);
    machine.expect(Fid::RMM_CONFIG_GET, [pa(1)], Status::Success, []);
    machine.expect(Fid::VERSION, [V2_0], Status::Success, [V2_0, V2_0]);
    machine.expect(Fid::FEATURES, [1], Status::Success, [0x1_42a9]);
}

#[test]
fn granules_do_not_move_before_activation() {
    let machine = Machine::new();
    for fid in [
        Fid::GRANULE_RANGE_DELEGATE,
        Fid::GRANULE_RANGE_UNDELEGATE,
        Fid::GPT_L1_CREATE,
    ] {
        machine.expect(fid, [pa(1), pa(2)], Status::ErrorGlobal, []);
        machine.expect(fid, [1, 2], Status::ErrorGlobal, []);
    }
    assert!(!machine.is_delegated(pa(1)));
}

#[test]
fn unknown_functions_are_not_supported_in_any_state() {
    for machine in [Machine::new(), Machine::active()] {
        for raw in [
            0,
            0x8400_0150,
            0xc400_0151,
            0xc400_018f,
            0xc400_01b0,
            0xc400_020f,
            u32::MAX,
        ] {
            let regs = machine.call(Fid::from_raw(raw), &[1, 2, 3, 4]);
            assert_eq!(regs.0[..5], [u64::MAX, 0, 0, 0, 4], "{raw:#x}");
        }
    }
}

#[test]
fn the_sve_hint_and_the_upper_half_of_x0_are_ignored() {
    let machine = Machine::new();
    for bits in [1 << 16, 0xffff_ffff << 32, 1 << 16 | 1 << 63] {
        let mut regs = Regs::new(u64::from(Fid::VERSION.raw()) | bits, &[V2_0]);
        machine.rmm.handle(&mut regs);
        assert_eq!(regs.0[..3], [0, V2_0, V2_0]);
    }
}

#[test]
fn registers_that_are_not_results_are_cleared_or_preserved() {
    let machine = Machine::new();
    let args: Vec<u64> = (1..18).collect();
    let regs = machine.call(Fid::RMM_ACTIVATE, &args);
    assert_eq!(regs.0[..4], [0; 4]);
    assert!((4..18).all(|n| regs.x(n) == n as u64));
}
