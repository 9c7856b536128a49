// SPDX-License-Identifier: GPL-2.0

//! REALM_CREATE, REALM_ACTIVATE, REALM_TERMINATE and REALM_DESTROY.

mod common;

use common::realm::{param, params, FREE, PAGE, RD, ROOT};
use common::{pa, Machine, OWN, UART};
use kvm_arm_rmi::rmi::{Fid, PhysAddr, Status};
use rmm::granule::State;
use rmm::platform::GRANULE_WORDS;

/// A machine with parameters in place, and a few delegated granules from the RD on.
fn ready(change: impl FnOnce(&mut [u64; GRANULE_WORDS])) -> Machine {
    let machine = Machine::active();
    machine.delegate(RD, 2);
    let mut page = params();
    change(&mut page);
    machine.fake().host_write(PAGE, &page);
    machine
}

fn state(machine: &Machine, pa: u64) -> Option<State> {
    machine.rmm.granules().state(PhysAddr::new(pa))
}

#[test]
fn a_realm_lives() {
    let machine = Machine::with_realm();
    assert_eq!(state(&machine, RD), Some(State::Rd));
    assert_eq!(state(&machine, ROOT), Some(State::Rtt));
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::ErrorRealm, []);
    machine.expect(Fid::REALM_DESTROY, [RD], Status::ErrorRealm, []);
    machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
    machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::ErrorRealm, []);
    machine.expect(Fid::REALM_DESTROY, [RD], Status::Success, []);
    assert_eq!(state(&machine, RD), Some(State::Delegated));
    assert_eq!(state(&machine, ROOT), Some(State::Delegated));
    machine.expect(Fid::REALM_DESTROY, [RD], Status::ErrorInput, []);
    machine.undelegate_all();
}

#[test]
fn a_new_realm_can_be_terminated() {
    let machine = Machine::with_realm();
    machine.expect(Fid::REALM_DESTROY, [RD], Status::ErrorRealm, []);
    machine.destroy_realm();
}

#[test]
fn the_commands_want_an_rd() {
    let machine = Machine::with_realm();
    machine.delegate(pa(FREE), 1);
    for fid in [
        Fid::REALM_ACTIVATE,
        Fid::REALM_TERMINATE,
        Fid::REALM_DESTROY,
    ] {
        for bad in [0, RD + 8, ROOT, PAGE, pa(FREE), OWN.start, UART, !0xfff] {
            machine.expect(fid, [bad], Status::ErrorInput, []);
        }
    }
}

#[test]
fn the_granules_of_a_realm_cannot_be_undelegated() {
    let machine = Machine::with_realm();
    for pa in [RD, ROOT] {
        machine.expect(
            Fid::GRANULE_RANGE_UNDELEGATE,
            [pa, pa + 0x1000],
            Status::ErrorInput,
            [pa],
        );
    }
}

#[test]
fn parameters_that_the_machine_can_do_are_accepted() {
    let accepted: [(&str, &[(usize, u64)]); 9] = [
        ("SHA-512", &[(param::HASH_ALGO, 1)]),
        ("SHA-384", &[(param::HASH_ALGO, 2)]),
        (
            "all breakpoints",
            &[(param::NUM_BPS, 5), (param::NUM_WPS, 3)],
        ),
        ("private MEC", &[(param::FLAGS0, 1 << 7)]),
        ("a live firmware policy", &[(param::FLAGS0, 3 << 5)]),
        ("fewest IPA bits", &[(param::S2SZ, 32)]),
        (
            "most IPA bits",
            &[(param::S2SZ, 48), (param::RTT_LEVEL_START, 0)],
        ),
        (
            "one table of level 2",
            &[(param::S2SZ, 33), (param::RTT_LEVEL_START, 1)],
        ),
        // The upper halves of 32-bit fields, a tree per plane without planes, reserved words.
        (
            "what is ignored",
            &[
                (param::S2SZ, 0xdead << 32 | 39),
                (param::HASH_ALGO, 0xff00),
                (param::FLAGS1, 1),
                (0x10, 7),
            ],
        ),
    ];
    for (what, words) in accepted {
        let machine = ready(|page| {
            for (word, value) in words {
                page[*word] = *value;
            }
        });
        let regs = machine.call(Fid::REALM_CREATE, &[RD, PAGE]);
        assert_eq!(regs.0[..4], [0; 4], "{what}");
        machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
        machine.expect(Fid::REALM_DESTROY, [RD], Status::Success, []);
        machine.undelegate_all();
    }
}

#[test]
fn parameters_that_the_machine_cannot_do_are_refused() {
    let refused: [(&str, &[(usize, u64)]); 25] = [
        (
            "LPA2 and more than 52 bits",
            &[
                (param::FLAGS0, 1),
                (param::S2SZ, 53),
                (param::RTT_LEVEL_START, u64::MAX),
            ],
        ),
        ("too few IPA bits", &[(param::S2SZ, 31)]),
        (
            "too many IPA bits without LPA2",
            &[(param::S2SZ, 49), (param::RTT_LEVEL_START, 0)],
        ),
        ("no breakpoint", &[(param::NUM_BPS, 0)]),
        ("no watchpoint", &[(param::NUM_WPS, 0)]),
        ("too many breakpoints", &[(param::NUM_BPS, 6)]),
        ("too many watchpoints", &[(param::NUM_WPS, 4)]),
        ("SVE", &[(param::FLAGS0, 1 << 1), (param::SVE_VL, 1)]),
        ("a PMU without counters", &[(param::FLAGS0, 1 << 2)]),
        (
            "a PMU with a counter",
            &[(param::FLAGS0, 1 << 2), (param::PMU_NUM_CTRS, 1)],
        ),
        ("devices", &[(param::FLAGS0, 1 << 3)]),
        ("a MEC policy that there is not", &[(param::FLAGS0, 2 << 7)]),
        ("planes", &[(param::NUM_AUX_PLANES, 1)]),
        ("ATS for a plane", &[(param::ATS_PLANE, 1)]),
        ("indirect permissions", &[(param::FLAGS1, 2)]),
        ("a hash that there is not", &[(param::HASH_ALGO, 3)]),
        ("a level too low", &[(param::RTT_LEVEL_START, 4)]),
        ("a level too high", &[(param::RTT_LEVEL_START, u64::MAX)]),
        (
            "a root table with one entry",
            &[(param::S2SZ, 39), (param::RTT_LEVEL_START, 0)],
        ),
        (
            "17 root tables or more",
            &[
                (param::S2SZ, 44),
                (param::RTT_LEVEL_START, 1),
                (param::RTT_NUM_START, 32),
                (param::RTT_BASE, pa(32)),
            ],
        ),
        ("no root table", &[(param::RTT_NUM_START, 0)]),
        ("too many root tables", &[(param::RTT_NUM_START, 2)]),
        (
            "too few root tables",
            &[(param::S2SZ, 40), (param::RTT_NUM_START, 1)],
        ),
        (
            "unaligned root tables",
            &[(param::S2SZ, 40), (param::RTT_NUM_START, 2)],
        ),
        ("an unaligned root table", &[(param::RTT_BASE, ROOT + 8)]),
    ];
    for (what, words) in refused {
        let machine = ready(|page| {
            for (word, value) in words {
                page[*word] = *value;
            }
        });
        let regs = machine.call(Fid::REALM_CREATE, &[RD, PAGE]);
        assert_eq!(regs.0[..4], [1, 0, 0, 0], "{what}");
        assert!(machine.is_delegated(RD) && machine.is_delegated(ROOT));
    }
}

#[test]
fn parameters_are_in_a_granule_of_the_hosts() {
    let machine = ready(|_| {});
    machine.delegate(pa(FREE), 1);
    for bad in [0, PAGE + 8, RD, ROOT, pa(FREE), OWN.start, UART, !0xfff] {
        machine.expect(Fid::REALM_CREATE, [RD, bad], Status::ErrorInput, []);
    }
}

#[test]
fn rd_and_root_tables_are_different_delegated_granules() {
    let machine = ready(|_| {});
    for bad in [0, RD + 8, ROOT, PAGE, OWN.start, UART, pa(FREE)] {
        machine.expect(Fid::REALM_CREATE, [bad, PAGE], Status::ErrorInput, []);
        assert!(machine.is_delegated(RD) && machine.is_delegated(ROOT));
    }
    for bad in [pa(FREE), OWN.start, UART & !0xfff, PAGE, RD] {
        let machine = ready(|page| page[param::RTT_BASE] = bad);
        machine.expect(Fid::REALM_CREATE, [RD, PAGE], Status::ErrorInput, []);
        assert!(machine.is_delegated(RD) && machine.is_delegated(ROOT));
    }
}

#[test]
fn root_tables_are_taken_together_or_not_at_all() {
    let (base, count) = (pa(32), 16);
    let concatenated = |page: &mut [u64; GRANULE_WORDS]| {
        page[param::S2SZ] = 43;
        page[param::RTT_NUM_START] = count;
        page[param::RTT_BASE] = base;
    };
    let machine = ready(concatenated);
    machine.delegate(base, count - 1);
    machine.expect(Fid::REALM_CREATE, [RD, PAGE], Status::ErrorInput, []);
    for n in 0..count - 1 {
        assert!(machine.is_delegated(pa(32 + n)));
    }
    machine.delegate(pa(32 + 15), 1);
    machine.expect(Fid::REALM_CREATE, [RD, PAGE], Status::Success, []);
    // The last of the tables is the one for the end of the IPA space.
    machine.create_table(pa(60), (1 << 43) - (1 << 30), 2);
    machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
    machine.expect(Fid::REALM_DESTROY, [RD], Status::ErrorRealm, []);
    let (ipa, end) = ((1 << 43) - (1 << 30), 1 << 43);
    machine.expect(
        Fid::RTT_DESTROY,
        [RD, ipa, 2],
        Status::Success,
        [pa(60), end],
    );
    machine.expect(Fid::REALM_DESTROY, [RD], Status::Success, []);
    machine.undelegate_all();
}

#[test]
fn a_realm_with_tables_cannot_be_destroyed() {
    let machine = Machine::with_realm();
    machine.create_table(pa(FREE), 0, 2);
    machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
    machine.expect(Fid::REALM_DESTROY, [RD], Status::ErrorRealm, []);
    machine.expect(
        Fid::RTT_DESTROY,
        [RD, 0, 2],
        Status::Success,
        [pa(FREE), 1 << 39],
    );
    machine.expect(Fid::REALM_DESTROY, [RD], Status::Success, []);
    machine.undelegate_all();
}

#[test]
fn there_are_as_many_realms_as_vmids() {
    // 8-bit VMIDs, of which one is nobody's.
    let machine = Machine::active();
    let realms: Vec<(u64, u64)> = (0..256).map(|n| (pa(32 + 2 * n), pa(33 + 2 * n))).collect();
    machine.delegate(pa(32), 512);
    let create = |(rd, root): (u64, u64), status| {
        let mut page = params();
        page[param::RTT_BASE] = root;
        machine.fake().host_write(PAGE, &page);
        machine.expect(Fid::REALM_CREATE, [rd, PAGE], status, []);
    };
    let (last, others) = realms.split_last().unwrap();
    for realm in others {
        create(*realm, Status::Success);
    }
    create(*last, Status::ErrorGlobal);
    // The VMID is missing before the granules are looked at.
    create((0, last.1), Status::ErrorGlobal);

    let (rd, _) = others[7];
    machine.expect(Fid::REALM_TERMINATE, [rd], Status::Success, []);
    machine.expect(Fid::REALM_DESTROY, [rd], Status::Success, []);
    // A failed attempt does not cost the VMID.
    create((0, last.1), Status::ErrorInput);
    create(*last, Status::Success);
}

#[test]
fn vmids_can_have_16_bits() {
    let machine = Machine::active();
    machine.fake().cpu.set_id_register(7, 1, 2 << 4);
    machine.delegate(pa(32), 600);
    for n in 0..300 {
        let mut page = params();
        page[param::RTT_BASE] = pa(33 + 2 * n);
        machine.fake().host_write(PAGE, &page);
        machine.expect(
            Fid::REALM_CREATE,
            [pa(32 + 2 * n), PAGE],
            Status::Success,
            [],
        );
    }
}

#[test]
fn nothing_of_a_realm_is_in_a_tlb_when_its_vmid_is_free() {
    let machine = Machine::with_realm();
    machine.map_shared(1 << 38, 0, 1, 1);
    machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
    machine.fake().invalidated();
    machine.expect(Fid::REALM_DESTROY, [RD], Status::Success, []);
    assert_eq!(machine.fake().invalidated(), [(0, 0..1 << 39)]);
}

#[test]
fn one_of_many_hosts_gets_the_granules() {
    let machine = ready(|_| {});
    let create = || usize::from(machine.call(Fid::REALM_CREATE, &[RD, PAGE]).x(0) == 0);
    let created: usize = std::thread::scope(|scope| {
        let cpus: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        cpus.into_iter().map(|cpu| cpu.join().unwrap()).sum()
    });
    assert_eq!(created, 1);
    machine.destroy_realm();
}
