// SPDX-License-Identifier: GPL-2.0

//! IPA spaces of all widths: memory at the end of either half is populated, faulted in, converted and
//! taken away, and where there is none the VMM is asked.

use super::*;

/// Granules of the slot at the end of the lower half: its second half is private at first.
const LENGTH: u64 = 64;

fn uses_both_halves_to_their_ends(ipa_bits: u32) {
    explore(move || {
        let top = 1 << (ipa_bits - 1 - 12);
        let (first, middle) = (top - LENGTH, top - LENGTH / 2);
        let before = |world: &World| {
            let file = Some((&world.gmem, GRANULES));
            world.vm.add_slot(first..top, HVA_FAR, file).unwrap();
            world.vm.set_private(middle..top, true).unwrap();
            world.populate(top - 1..top).unwrap();
            assert_eq!(world.populate(top..top + 1), Err(EINVAL));

            let ops = [
                private(middle..middle + 1),
                private(top - 2..top),
                shared(first..first + 1),
                // There and back, to the last granule.
                vec![ripas(top - 4..top, false, true)],
                shared(top - 4..top),
                vec![ripas(top - 4..top, true, true)],
                private(top - 4..top),
            ]
            .concat();
            let wanted = vec![true; ops.len()];
            assert_eq!(world.run(0, ops), wanted);
        };
        // Others take away what the realm uses.
        let parts = vec![
            part(move |world| {
                let mut guest = Guest::new([shared(first..first + 8), private(0..4)].concat());
                let result = world.go_on(0, &mut guest);
                assert_eq!(result, Ok(Exit::None));
            }),
            part(move |world| world.mm.discard(HVA_FAR..HVA_FAR + 4 * 4096)),
            punches(GRANULES + LENGTH - 8..GRANULES + LENGTH),
        ];
        let after = |world: &World| {
            world.assert_nothing_mapped(top - 8..top);
            world.vm.delete_slot(first).unwrap();
            world.assert_nothing_mapped(first..top);
            let mut guest = Guest::new([Op::Shared(top - 1)]);
            let asked = world.go_on(0, &mut guest);
            assert_eq!(asked, Ok(Exit::Mmio((top - 1) * 4096)));
        };
        scenario_of(ipa_bits, &[0], before, parts, after);
    });
}

#[test]
fn of_32_bits() {
    uses_both_halves_to_their_ends(32);
}

#[test]
fn of_36_bits() {
    uses_both_halves_to_their_ends(36);
}

#[test]
fn of_39_bits() {
    uses_both_halves_to_their_ends(39);
}

#[test]
fn of_40_bits() {
    uses_both_halves_to_their_ends(40);
}

#[test]
fn of_48_bits() {
    uses_both_halves_to_their_ends(48);
}

#[test]
fn of_52_bits() {
    uses_both_halves_to_their_ends(52);
}
