// SPDX-License-Identifier: GPL-2.0

//! What the host's owner sees of a realm: files in debugfs, events, the log.

use super::told::{count, record_all, refuse};
use super::*;
use crate::injection::end;
use kvm_arm_rmi::rmi::{Fid, Status};
use kvm_arm_rmi::sys::machine::machine;
use kvm_arm_rmi::sys::trace::Event;
use std::collections::BTreeMap;

/// A file about the VM, line by line: a key, and what there is to it.
fn of_vm(name: &str) -> BTreeMap<String, String> {
    let text = machine().read_file("kvm_arm_rmi/vm-1-", name).unwrap();
    let line = |line: &str| {
        let (key, value) = line.split_once(' ').unwrap();
        (key.into(), value.into())
    };
    text.lines().map(line).collect()
}

fn number(file: &BTreeMap<String, String>, key: &str) -> u64 {
    file[key].parse().unwrap()
}

/// The RD of the realm.
fn rd() -> u64 {
    let rd = &of_vm("/state")["rd:"];
    u64::from_str_radix(&rd[2..], 16).unwrap()
}

#[test]
fn the_state_of_a_realm() {
    alone(|world| {
        let assert_is = |state: &str, recs: u64, tables: [u64; 1]| {
            let file = of_vm("/state");
            assert_eq!(file["state:"], state);
            assert_eq!(
                (file["rd:"] == "0x0", file["recs:"] == recs.to_string()),
                (state == "None", true)
            );
            let fixed = ["ipa_bits:", "vcpus:", "start_level:", "start_tables:"];
            assert_eq!(fixed.map(|key| number(&file, key)), [32, 1, 2, 4]);
            assert_eq!([number(&file, "tables_at_level_3:")], tables);
            assert_eq!(file.len(), 8);
        };
        assert_is("None", 0, [0]);
        world.begin().unwrap();
        assert_is("New", 0, [0]);
        assert_eq!(world.run(0, [Op::Private(3), Op::Private(3)]), [true; 2]);
        assert_is("Active", 1, [1]);
        world.vm.flush();
        assert_is("Dying", 1, [1]);
    });
}

/// What a realm has is what it is shown to have, and what it has cost.
#[test]
fn the_memory_and_the_calls_of_a_realm() {
    alone(|world| {
        assert_eq!(world.run(0, [Op::Private(3)]), [true]);
        let before = of_vm("/smcs");
        let all = record_all();
        assert_eq!(
            world.run(0, [Op::Private(5), Op::Shared(SHARED)]),
            [true; 2]
        );
        refuse(Fid::REC_ENTER, 1, Status::ErrorRec);
        let refused = world.vm.run(0, &mut Guest::new([]));
        assert_eq!(refused, Err((EAGAIN, Exit::None)));
        end();
        let after = of_vm("/smcs");
        for fid in [Fid::REC_ENTER, Fid::RTT_DATA_MAP, Fid::RTT_UNPROT_MAP] {
            let of = |file: &BTreeMap<String, String>| {
                let line = file.get(fid.name()).map_or("0 0", |line| line);
                let (calls, failed) = line.split_once(' ').unwrap();
                (
                    calls.parse::<usize>().unwrap(),
                    failed.parse::<usize>().unwrap(),
                )
            };
            let refused = usize::from(fid == Fid::REC_ENTER);
            let ((calls, failed), (more, more_failed)) = (of(&before), of(&after));
            assert_eq!(
                (more - calls, more_failed - failed),
                (count(&all, fid) + refused, refused)
            );
        }
        let granules = of_vm("/granules");
        let shown = ["mapped_private:", "mapped_shared:", "leaked:"];
        assert_eq!(shown.map(|key| number(&granules, key)), [8, 1, 0]);
        // The host has this one VM.
        let host = machine().read_file("kvm_arm_rmi/granules", "").unwrap();
        let line = format!("delegated: {}\n", number(&granules, "delegated:"));
        assert!(host.contains(&line), "{host}");
    });
}

/// What one hears while something is done.
fn events(what: impl FnOnce()) -> Vec<Event> {
    machine().events();
    what();
    machine().events()
}

/// Each entry with its exit, and what has come and gone of memory by the time that it is there, or not.
#[test]
fn events_of_a_realm() {
    const IRQ: u32 = 1;
    const ABORT: u64 = 0x24 << 26 | 7;
    alone(|world| {
        assert_eq!(world.run(0, []), Vec::<bool>::new());
        let rd = rd();
        let run = |ops: Vec<Op>| {
            let wanted = vec![true; ops.len()];
            events(|| assert_eq!(world.run(0, ops), wanted))
        };
        let entry = |(reason, esr)| [Event::Enter(0, rd), Event::Exit(0, 0, rd, (reason, esr))];
        let goes = |events: &[Event]| {
            let is = |event: &&Event| matches!(event, Event::Enter(..) | Event::Exit(..));
            events.iter().filter(is).cloned().collect::<Vec<_>>()
        };
        let memory = |events: &[Event]| {
            let is = |event: &&Event| !matches!(event, Event::Enter(..) | Event::Exit(..));
            events.iter().filter(is).cloned().collect::<Vec<_>>()
        };
        let heard = run(private(5..6));
        assert_eq!(memory(&heard), [Event::Map(rd, true, 4..8)]);
        let fault = entry((0, ABORT));
        assert_eq!(goes(&heard), [fault, entry((IRQ, 0))].concat());
        assert_eq!(heard[2], memory(&heard)[0]);
        let heard = run(shared(SHARED..SHARED + 1));
        let only = SHARED..SHARED + 1;
        assert_eq!(memory(&heard), [Event::Map(rd, false, only.clone())]);
        let heard = events(|| world.mm.discard(hvas(only.clone())));
        assert_eq!(heard, [Event::Unmap(rd, false, only.clone(), 1)]);
        let heard = events(|| world.gmem.punch(4..6));
        assert_eq!(heard, [Event::Unmap(rd, true, 4..6, 2)]);
        // What may only be read, and is written then.
        world.mm.protect(hvas(only.clone()).start, false);
        run(vec![Op::Load(SHARED)]);
        world.mm.protect(hvas(only.clone()).start, true);
        let heard = run(shared(only.clone()));
        let replaced = [
            Event::Unmap(rd, false, only.clone(), 1),
            Event::Map(rd, false, only),
        ];
        assert_eq!(memory(&heard), replaced);
    });
}

#[test]
fn events_of_a_populate() {
    alone(|world| {
        world.begin().unwrap();
        let heard = events(|| world.populate(1..3).unwrap());
        let rd = rd();
        assert_eq!(heard, [Event::Map(rd, true, 1..3)]);
    });
}

/// What the host is and can do.
#[test]
fn the_host() {
    alone(|_| {
        let file = |name| machine().read_file(name, "").unwrap();
        let state = file("kvm_arm_rmi/state");
        assert!(
            state.starts_with("abi: 2.0\ngranule_size: 4096\nwas_active: false\n"),
            "{state}"
        );
        let capabilities = file("kvm_arm_rmi/capabilities");
        assert!(capabilities.starts_with("{\"ipa_bits\":"), "{capabilities}");
    });
}
