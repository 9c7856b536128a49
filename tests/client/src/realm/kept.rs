// SPDX-License-Identifier: GPL-2.0

//! A VMM is killed, and the RMM does not part from its realm's private memory. The process ends all the
//! same, and nobody gets a page that the RMM has still: whoever did would take a fault in the kernel.

use kvm_arm_rmi::rmi::Fid;
use realm_guest::PAGE_SIZE;

use super::killed;
use super::memory::{Huge, Mapping};
use super::{debugfs, ensure, faults, Result};

/// ERROR_INPUT, from now on.
const REFUSED: [u64; 4] = [0, 0, u32::MAX as u64, 1];
/// Memory that is used when the process has gone, of which some was its.
const LATER: u64 = 64 << 20;

/// `realm kept MiB`: so much private memory.
pub(super) fn main(mib: u64) -> Result<()> {
    let (_, before) = debugfs::granules()?;
    let unmap = match debugfs::is_rmi_1_0() {
        Some(true) => Fid::DATA_DESTROY,
        _ => Fid::RTT_DATA_UNMAP,
    };
    let mut fault = vec![u64::from(unmap.raw())];
    fault.extend(REFUSED);
    debugfs::fault(&fault)?;
    let killed = killed::kill(&["touched", &mib.to_string()], 0);
    debugfs::fault(&[0])?;
    killed?;
    faults::settled()?;
    let (_, leaked) = debugfs::granules()?;
    let pages = (mib << 20) / PAGE_SIZE;
    ensure!(
        leaked - before >= pages,
        "{} granules are leaked, the realm had {pages} pages",
        leaked - before
    );
    let later = Mapping::new(LATER, Huge::Never)?;
    for at in (0..LATER).step_by(PAGE_SIZE as usize) {
        later.write(at, at);
    }
    println!("{} granules are the RMM's for ever", leaked - before);
    Ok(())
}
