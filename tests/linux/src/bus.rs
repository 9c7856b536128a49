// SPDX-License-Identifier: GPL-2.0

//! How virtio devices are found, and whether their interrupts arrive the way that belongs to it: on PCI
//! by MSI-X and the interrupt controller's ITS.

use crate::{Check, Context, Error, Verdict};
use std::{
    fs,
    path::Path,
    str::FromStr, //
};

const VIRTIO: &str = "/sys/bus/virtio/devices";
const VENDOR: u16 = 0x1af4;
/// Added to a virtio device's ID.
const DEVICE: u16 = 0x1040;

/// How virtio devices are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bus {
    Mmio,
    Pci,
}

impl FromStr for Bus {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "mmio" => Ok(Self::Mmio),
            "pci" => Ok(Self::Pci),
            _ => Err(format!("'{name}' is not mmio or pci").into()),
        }
    }
}

/// All virtio devices are on the bus that is expected, and those whose drivers wait for interrupts by now
/// have had some.
pub(crate) fn check(expected: Option<Bus>) -> Check {
    let Some(expected) = expected else {
        return Ok(Verdict::Skipped("any would do".into()));
    };
    let interrupts = fs::read_to_string("/proc/interrupts").context("/proc/interrupts")?;
    let interrupts: Vec<_> = interrupts.lines().filter_map(Interrupt::parse).collect();
    let (mut devices, mut total) = (0, 0);
    for entry in fs::read_dir(VIRTIO).context(VIRTIO)? {
        let device = fs::canonicalize(entry?.path())?;
        let name = file_name(&device);
        let parent = device.parent().ok_or("no parent")?;
        let bus = match file_name(&fs::canonicalize(parent.join("subsystem"))?).as_str() {
            "pci" => Bus::Pci,
            _ => Bus::Mmio,
        };
        if bus != expected {
            return Err(format!("{name} is on {bus:?}").into());
        }
        if bus == Bus::Pci {
            check_function(&device, parent).context(&name)?;
        }
        let count = interrupts.iter().filter(|one| one.is_of(&name, bus));
        let count: u64 = count.map(|one| one.count).sum();
        let driver = fs::canonicalize(device.join("driver")).map(|driver| file_name(&driver));
        // Nobody types anything to a console.
        if matches!(driver.as_deref(), Ok("virtio_blk" | "virtio_rng")) && count == 0 {
            return Err(format!("{name} had no interrupt by way of {bus:?}").into());
        }
        devices += 1;
        total += count;
    }
    if devices == 0 {
        return Err("there are no virtio devices".into());
    }
    let way = match expected {
        Bus::Mmio => "by wire",
        Bus::Pci => "by ITS and MSI-X",
    };
    Ok(Verdict::Ok(format!(
        "{devices} devices on {expected:?}, {total} interrupts {way}"
    )))
}

/// The function's configuration space says of the device what virtio says of it.
fn check_function(device: &Path, function: &Path) -> Result<(), Error> {
    let config = fs::read(function.join("config")).context("config")?;
    let id = fs::read_to_string(device.join("device")).context("device")?;
    let id = u16::from_str_radix(id.trim().trim_start_matches("0x"), 16)?;
    let word = |at: usize| Some(u16::from_le_bytes([*config.get(at)?, *config.get(at + 1)?]));
    if (word(0), word(2)) != (Some(VENDOR), Some(DEVICE + id)) {
        return Err(format!("a device {id:#x} that begins with {:x?}", config.get(..4)).into());
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into())
}

/// A line of /proc/interrupts.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Interrupt {
    /// How often, on all CPUs.
    count: u64,
    /// What it goes through.
    chip: String,
    /// Whose it is.
    name: String,
}

impl Interrupt {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_once(':')?.1.split_whitespace().peekable();
        let mut count = 0;
        while let Some(one) = words.peek().and_then(|word| word.parse::<u64>().ok()) {
            count += one;
            words.next();
        }
        Some(Self {
            count,
            chip: words.next()?.into(),
            name: words.last()?.into(),
        })
    }

    /// Whether it is the device's, and goes the way of such a bus.
    fn is_of(&self, device: &str, bus: Bus) -> bool {
        match bus {
            Bus::Mmio => self.name == device,
            Bus::Pci => {
                let rest = self.name.strip_prefix(device);
                let msi = self.chip.starts_with("ITS-") && self.chip.contains("MSI");
                msi && rest.is_some_and(|rest| rest.starts_with('-'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_interrupts() {
        let of = |line, device, bus| {
            Interrupt::parse(line).map(|one| (one.count, one.is_of(device, bus)))
        };
        let msi = " 23:    7    35  ITS-PCI-MSIX-0000:00:01.0   1 Edge      virtio1-input";
        assert_eq!(of(msi, "virtio1", Bus::Pci), Some((42, true)));
        assert_eq!(of(msi, "virtio1", Bus::Mmio), Some((42, false)));
        assert_eq!(of(msi, "virtio", Bus::Pci), Some((42, false)));
        let older = " 23:    7  ITS-MSI 16384 Edge      virtio10-req.0";
        assert_eq!(of(older, "virtio10", Bus::Pci), Some((7, true)));
        assert_eq!(of(older, "virtio1", Bus::Pci), Some((7, false)));
        let wire = " 12:    9    0    GICv3  48 Edge      virtio1";
        assert_eq!(of(wire, "virtio1", Bus::Mmio), Some((9, true)));
        assert_eq!(of(wire, "virtio1", Bus::Pci), Some((9, false)));
        assert_eq!(of("           CPU0       CPU1", "virtio1", Bus::Mmio), None);
        assert_eq!(of("Err:          0", "virtio1", Bus::Mmio), None);
    }
}
