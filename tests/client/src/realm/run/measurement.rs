// SPDX-License-Identifier: GPL-2.0

//! The Realm Initial Measurement, computed as whoever deploys a realm would: from what the VMM has asked
//! for, and without the RMM's or the component's code.

use realm_attest::hash::Hash;
use realm_attest::rim::{Params, Rim, PAGE};
use realm_attest::verify::hex;
use realm_guest::{rsi, Op, Order, BASE, IMAGE_SIZE, PAGE_SIZE};

use super::{FIRST_CHUNK, X0};
use crate::realm::cpu::{Cpu, DFR0};
use crate::realm::debugfs;
use crate::realm::memory::Mapping;
use crate::realm::vm::{guest_image, Vm};
use crate::realm::{ensure, Result};

/// A page that is populated, and of which only the address is measured: the last before what the CPUs
/// fill.
const UNMEASURED: u64 = FIRST_CHUNK - PAGE_SIZE;
const _: () = assert!(BASE + IMAGE_SIZE <= UNMEASURED);
/// What is in it.
const CONTENT: [u8; 8] = *b"anything";

/// Adds a page to a realm whose contents are not measured.
pub(super) fn populate_more(vm: &Vm) -> Result<()> {
    vm.populate(
        UNMEASURED,
        &Mapping::with_contents(&CONTENT, PAGE_SIZE)?,
        false,
    )
}

/// The realm has been measured as it was made: the guest's image page by page with its contents, the
/// page of [`populate_more`] without, and the one CPU that is on at first. And that page has what was put
/// there.
pub(super) fn check(cpu: &mut Cpu<'_>) -> Result<()> {
    let found = check_rim(cpu, Hash::Sha256, &[UNMEASURED], X0)?;
    let [_, content, ..] = cpu.order(Order::new(Op::Load, 0), &[UNMEASURED, 8])?;
    ensure!(
        content.to_le_bytes() == CONTENT,
        "what was populated without being measured is {content:#x}"
    );
    println!("measured: {found}");
    Ok(())
}

/// What a realm's measurement should be: that of a guest that starts with `x0`, and pages whose contents
/// are not measured. Where nobody says what the RMM speaks there is one for each version of RMI.
pub(crate) fn expected(
    cpu: &mut Cpu<'_>,
    hash: Hash,
    unmeasured: &[u64],
    x0: u64,
) -> Result<Vec<Vec<u8>>> {
    let [_, ipa_bits, ..] = cpu.order(Order::new(Op::Describe, 0), &[])?;
    // What KVM tells of the debug registers; what the realm reads is up to the RMM.
    let dfr0 = cpu.get(DFR0)?;
    let params = Params {
        ipa_bits: ipa_bits.try_into()?,
        sve_quadwords: 0,
        breakpoints: (dfr0 >> 12 & 0xf) + 1,
        watchpoints: (dfr0 >> 20 & 0xf) + 1,
        pmu_counters: None,
    };
    let mut rim = Rim::new(hash, &params);
    let mut image = guest_image()?;
    image.resize(IMAGE_SIZE as usize, 0);
    for (ipa, page) in (BASE..).step_by(PAGE).zip(image.chunks(PAGE)) {
        rim.page(ipa, Some(page.try_into()?));
    }
    for ipa in unmeasured {
        rim.page(*ipa, None);
    }
    rim.rec(BASE, x0);
    let of_2_0 = rim.value().to_vec();
    let private = cpu.vm.slots.iter().filter(|slot| slot.memfd.is_some());
    let mut private: Vec<_> = private.map(|slot| slot.base..slot.top()).collect();
    private.sort_unstable_by_key(|slot| slot.start);
    private.into_iter().for_each(|slot| rim.ram(slot));
    let of_1_0 = rim.value().to_vec();
    Ok(match debugfs::is_rmi_1_0() {
        Some(false) => vec![of_2_0],
        Some(true) => vec![of_1_0],
        None => vec![of_2_0, of_1_0],
    })
}

/// The realm has been measured as [`expected`]. Returns its measurement.
pub(crate) fn check_rim(
    cpu: &mut Cpu<'_>,
    hash: Hash,
    unmeasured: &[u64],
    x0: u64,
) -> Result<String> {
    let wanted = expected(cpu, hash, unmeasured, x0)?;
    let found = read(cpu, hash)?;
    let names: Vec<_> = wanted.iter().map(|rim| hex(rim)).collect();
    ensure!(
        wanted.contains(&found),
        "the realm is measured as {} instead of {}",
        hex(&found),
        names.join(" or ")
    );
    Ok(hex(&found))
}

/// RSI_MEASUREMENT_READ of the initial measurement.
fn read(cpu: &mut Cpu<'_>, hash: Hash) -> Result<Vec<u8>> {
    const INITIAL: u64 = 0;
    let arguments = [realm_guest::fid::MEASUREMENT_READ, INITIAL];
    let order = Order::new(Op::Smc, arguments.len() as u64);
    let [status, words @ ..] = cpu.order(order, &arguments)?;
    let (measurement, rest) = words.split_at(hash.size() / 8);
    ensure!(
        status == rsi::SUCCESS && rest.iter().all(|word| *word == 0),
        "measurement: status {status}, {words:x?}"
    );
    Ok(measurement.iter().flat_map(|w| w.to_le_bytes()).collect())
}
