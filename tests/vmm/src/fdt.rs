// SPDX-License-Identifier: GPL-2.0

//! The device tree: what the guest's kernel is told of its machine.

use std::ops::Range;

use vm_fdt::{FdtWriter, FdtWriterResult};

use crate::args::Transport;
use crate::layout::*;

/// What differs from one guest to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// In a realm PSCI is called by SMC: there, HVC is for nobody. In ordinary VMs it is HVC.
    pub realm: bool,
    /// CPUs.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// The kernel's command line.
    pub cmdline: String,
    /// Where the initial RAM disk is; empty if there is none.
    pub initrd: Range<u64>,
    /// How many virtio devices there are.
    pub virtio: usize,
    /// How they are found. Those on PCI need an ITS; otherwise there is none.
    pub transport: Transport,
    /// Each CPU has a PMU.
    pub pmu: bool,
    /// Randomness for an ordinary guest. What a realm is told becomes part of its measurement,
    /// which is to be the same every time, and a host's randomness is nothing that it can trust.
    pub seed: Option<Seed>,
}

/// Randomness for a kernel that has no other at first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seed {
    /// For its addresses.
    pub kaslr: u64,
    /// For its random number generator.
    pub rng: [u8; 32],
}

/// The phandles of the interrupt controller and of its ITS.
const GIC: u32 = 1;
const ITS_HANDLE: u32 = 2;
/// A piece of PCI's memory space, with 32-bit addresses (PCI Bus Binding to Open Firmware, 2.2.1.1).
const PCI_MEMORY: u32 = 0x0200_0000;
/// Cells of an interrupt: shared between CPUs, or one of each CPU's own.
const SHARED: u32 = 0;
const OWN: u32 = 1;
/// An event is a pulse, which is what an irqfd makes; the timers' are levels.
const PULSE: u32 = 1;
const LEVEL: u32 = 4;
/// The timers: secure, non-secure, virtual, hypervisor.
const TIMERS: [u32; 4] = [13, 14, 11, 10];
/// The PMU's, of the same kind.
const PMU: u32 = PMU_IRQ - OWN_IRQS;
/// What the serial port divides; nothing depends on it.
const SERIAL_CLOCK: u32 = 1_843_200;

/// The device tree.
///
/// # Errors
///
/// The command line has a NUL in it.
pub fn build(machine: &Machine) -> FdtWriterResult<Vec<u8>> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_string("compatible", "linux,dummy-virt")?;
    fdt.property_string("model", "realm-vmm")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_u32("interrupt-parent", GIC)?;
    fdt.property_null("dma-coherent")?;

    chosen(&mut fdt, machine)?;
    let memory = fdt.begin_node(&format!("memory@{RAM:x}"))?;
    fdt.property_string("device_type", "memory")?;
    fdt.property_array_u64("reg", &[RAM, machine.memory])?;
    fdt.end_node(memory)?;
    cpus(&mut fdt, machine)?;
    interrupts(&mut fdt, machine)?;
    devices(&mut fdt)?;
    match machine.transport {
        Transport::Mmio => virtio_mmio(&mut fdt, machine.virtio)?,
        Transport::Pci => pci(&mut fdt)?,
    }

    fdt.end_node(root)?;
    fdt.finish()
}

fn chosen(fdt: &mut FdtWriter, machine: &Machine) -> FdtWriterResult<()> {
    let chosen = fdt.begin_node("chosen")?;
    fdt.property_string("bootargs", &machine.cmdline)?;
    fdt.property_string("stdout-path", &format!("/serial@{SERIAL:x}"))?;
    if !machine.initrd.is_empty() {
        fdt.property_u64("linux,initrd-start", machine.initrd.start)?;
        fdt.property_u64("linux,initrd-end", machine.initrd.end)?;
    }
    if let Some(seed) = &machine.seed {
        fdt.property_u64("kaslr-seed", seed.kaslr)?;
        fdt.property("rng-seed", &seed.rng)?;
    }
    fdt.end_node(chosen)
}

fn cpus(fdt: &mut FdtWriter, machine: &Machine) -> FdtWriterResult<()> {
    let psci = fdt.begin_node("psci")?;
    let versions = ["arm,psci-1.0", "arm,psci-0.2"].map(str::to_string);
    fdt.property_string_list("compatible", versions.to_vec())?;
    fdt.property_string("method", if machine.realm { "smc" } else { "hvc" })?;
    fdt.end_node(psci)?;

    let cpus = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 0)?;
    for cpu in (0..machine.cpus).map(mpidr) {
        let node = fdt.begin_node(&format!("cpu@{cpu:x}"))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_string("compatible", "arm,armv8")?;
        fdt.property_string("enable-method", "psci")?;
        fdt.property_u64("reg", cpu)?;
        fdt.end_node(node)?;
    }
    fdt.end_node(cpus)
}

fn interrupts(fdt: &mut FdtWriter, machine: &Machine) -> FdtWriterResult<()> {
    let gic = fdt.begin_node(&format!("interrupt-controller@{GICD:x}"))?;
    fdt.property_string("compatible", "arm,gic-v3")?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 3)?;
    fdt.property_array_u64("reg", &[GICD, GICD_SIZE, GICR, machine.cpus * GICR_SIZE])?;
    fdt.property_phandle(GIC)?;
    if machine.transport == Transport::Pci {
        fdt.property_u32("#address-cells", 2)?;
        fdt.property_u32("#size-cells", 2)?;
        fdt.property_null("ranges")?;
        let its = fdt.begin_node(&format!("msi-controller@{ITS:x}"))?;
        fdt.property_string("compatible", "arm,gic-v3-its")?;
        fdt.property_null("msi-controller")?;
        fdt.property_u32("#msi-cells", 1)?;
        fdt.property_array_u64("reg", &[ITS, ITS_SIZE])?;
        fdt.property_phandle(ITS_HANDLE)?;
        fdt.end_node(its)?;
    }
    fdt.end_node(gic)?;

    let timer = fdt.begin_node("timer")?;
    fdt.property_string("compatible", "arm,armv8-timer")?;
    let lines = TIMERS.map(|number| [OWN, number, LEVEL]);
    fdt.property_array_u32("interrupts", lines.as_flattened())?;
    fdt.property_null("always-on")?;
    fdt.end_node(timer)?;

    if machine.pmu {
        let pmu = fdt.begin_node("pmu")?;
        fdt.property_string("compatible", "arm,armv8-pmuv3")?;
        fdt.property_array_u32("interrupts", &[OWN, PMU, LEVEL])?;
        fdt.end_node(pmu)?;
    }
    Ok(())
}

fn devices(fdt: &mut FdtWriter) -> FdtWriterResult<()> {
    let serial = fdt.begin_node(&format!("serial@{SERIAL:x}"))?;
    fdt.property_string("compatible", "ns16550a")?;
    fdt.property_array_u64("reg", &[SERIAL, SERIAL_SIZE])?;
    fdt.property_u32("reg-shift", 0)?;
    fdt.property_u32("reg-io-width", 1)?;
    fdt.property_u32("clock-frequency", SERIAL_CLOCK)?;
    fdt.property_array_u32("interrupts", &[SHARED, SERIAL_IRQ, PULSE])?;
    fdt.end_node(serial)?;

    let pvpanic = fdt.begin_node(&format!("pvpanic@{PVPANIC:x}"))?;
    fdt.property_string("compatible", "qemu,pvpanic-mmio")?;
    fdt.property_array_u64("reg", &[PVPANIC, PVPANIC_SIZE])?;
    fdt.end_node(pvpanic)
}

fn virtio_mmio(fdt: &mut FdtWriter, count: usize) -> FdtWriterResult<()> {
    for number in 0..count {
        let (base, irq) = virtio(number);
        let node = fdt.begin_node(&format!("virtio_mmio@{base:x}"))?;
        fdt.property_string("compatible", "virtio,mmio")?;
        fdt.property_array_u64("reg", &[base, VIRTIO_SIZE])?;
        fdt.property_array_u32("interrupts", &[SHARED, irq, PULSE])?;
        fdt.property_null("dma-coherent")?;
        fdt.end_node(node)?;
    }
    Ok(())
}

/// A host bridge as Linux's generic driver knows it (PCI Express ECAM), with one bus.
fn pci(fdt: &mut FdtWriter) -> FdtWriterResult<()> {
    let high = |address: u64| (address >> 32) as u32;
    let low = |address: u64| address as u32;
    let pci = fdt.begin_node(&format!("pcie@{PCI_ECAM:x}"))?;
    fdt.property_string("compatible", "pci-host-ecam-generic")?;
    fdt.property_string("device_type", "pci")?;
    fdt.property_u32("#address-cells", 3)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_array_u64("reg", &[PCI_ECAM, PCI_ECAM_SIZE])?;
    fdt.property_array_u32("bus-range", &[0, 0])?;
    // The bus has the same addresses as the CPUs.
    let (base, size) = (PCI_WINDOW, PCI_WINDOW_SIZE);
    let window = [
        PCI_MEMORY,
        high(base),
        low(base),
        high(base),
        low(base),
        high(size),
        low(size),
    ];
    fdt.property_array_u32("ranges", &window)?;
    // The ITS knows functions by their requester IDs: all 256 of a bus.
    fdt.property_array_u32("msi-map", &[0, ITS_HANDLE, 0, 0x100])?;
    fdt.property_null("dma-coherent")?;
    fdt.end_node(pci)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Properties by path, read the way the specification says (Devicetree 0.4, 5).
    fn read(blob: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
        let text = |at: usize| {
            let bytes: Vec<u8> = blob[at..].iter().copied().take_while(|b| *b != 0).collect();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!((word(0), word(4)), (0xd00d_feed, blob.len()));
        let (mut at, strings) = (word(8), word(12));
        let (mut path, mut all) = (Vec::new(), BTreeMap::new());
        loop {
            let token = word(at);
            at += 4;
            match token {
                1 => {
                    path.push(text(at));
                    at += (path.last().unwrap().len() + 1).next_multiple_of(4);
                }
                2 => drop(path.pop().unwrap()),
                3 => {
                    let (size, name) = (word(at), text(strings + word(at + 4)));
                    let value = blob[at + 8..at + 8 + size].to_vec();
                    all.insert(format!("{}/{name}", path.join("/")), value);
                    at += 8 + size.next_multiple_of(4);
                }
                4 => {}
                9 => return all,
                other => panic!("token {other}"),
            }
        }
    }

    fn machine() -> Machine {
        Machine {
            realm: true,
            cpus: 18,
            memory: 64 << 20,
            cmdline: "console=hvc0".into(),
            initrd: 0x4100_0000..0x4100_1234,
            virtio: 2,
            transport: Transport::Mmio,
            pmu: false,
            seed: None,
        }
    }

    fn cells(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
    }

    #[test]
    fn what_linux_looks_for() {
        let tree = read(&build(&machine()).unwrap());
        for (path, value) in [
            ("/chosen/bootargs", b"console=hvc0\0".to_vec()),
            ("/chosen/stdout-path", b"/serial@9000000\0".to_vec()),
            ("/chosen/linux,initrd-start", cells(&[0, 0x4100_0000])),
            ("/chosen/linux,initrd-end", cells(&[0, 0x4100_1234])),
            (
                "/memory@40000000/reg",
                cells(&[0, 0x4000_0000, 0, 64 << 20]),
            ),
            ("/psci/method", b"smc\0".to_vec()),
            ("/cpus/cpu@0/enable-method", b"psci\0".to_vec()),
            ("/cpus/cpu@101/reg", cells(&[0, 0x101])),
            ("/interrupt-controller@8000000/phandle", cells(&[1])),
            ("/interrupt-parent", cells(&[1])),
            (
                "/virtio_mmio@a001000/reg",
                cells(&[0, 0xa00_1000, 0, 0x200]),
            ),
            ("/virtio_mmio@a001000/interrupts", cells(&[0, 17, 1])),
            ("/virtio_mmio@a001000/dma-coherent", vec![]),
        ] {
            assert_eq!(tree.get(path), Some(&value), "{path}");
        }
        let redistributors = &tree["/interrupt-controller@8000000/reg"][24..];
        assert_eq!(redistributors, cells(&[0, 18 * 0x2_0000]));
        assert!(!tree.contains_key("/cpus/cpu@102/reg"));
        assert!(!tree.contains_key("/virtio_mmio@a002000/reg"));
        assert!(!tree
            .keys()
            .any(|path| ["pci", "msi", "pmu"].iter().any(|it| path.contains(it))));
    }

    #[test]
    fn devices_on_pci() {
        let machine = Machine {
            transport: Transport::Pci,
            ..machine()
        };
        let tree = read(&build(&machine).unwrap());
        let (its, pci) = (
            "/interrupt-controller@8000000/msi-controller@8080000",
            "/pcie@20000000",
        );
        for (path, value) in [
            (format!("{its}/compatible"), b"arm,gic-v3-its\0".to_vec()),
            (format!("{its}/reg"), cells(&[0, 0x808_0000, 0, 0x2_0000])),
            (format!("{its}/#msi-cells"), cells(&[1])),
            (format!("{its}/phandle"), cells(&[2])),
            (format!("{its}/msi-controller"), vec![]),
            ("/interrupt-controller@8000000/ranges".into(), vec![]),
            (
                format!("{pci}/compatible"),
                b"pci-host-ecam-generic\0".to_vec(),
            ),
            (format!("{pci}/device_type"), b"pci\0".to_vec()),
            (format!("{pci}/reg"), cells(&[0, 0x2000_0000, 0, 0x10_0000])),
            (format!("{pci}/bus-range"), cells(&[0, 0])),
            (
                format!("{pci}/ranges"),
                cells(&[0x200_0000, 0, 0x2100_0000, 0, 0x2100_0000, 0, 0x100_0000]),
            ),
            (format!("{pci}/msi-map"), cells(&[0, 2, 0, 0x100])),
            (format!("{pci}/dma-coherent"), vec![]),
        ] {
            assert_eq!(tree.get(&path), Some(&value), "{path}");
        }
        assert!(!tree.keys().any(|path| path.contains("virtio")));
    }

    #[test]
    fn a_pmu_with_an_interrupt_of_each_cpus_own() {
        let machine = Machine {
            pmu: true,
            ..machine()
        };
        let tree = read(&build(&machine).unwrap());
        assert_eq!(tree["/pmu/compatible"], b"arm,armv8-pmuv3\0");
        assert_eq!(tree["/pmu/interrupts"], cells(&[1, 7, 4]));
    }

    #[test]
    fn a_realms_is_the_same_every_time() {
        let tree = read(&build(&machine()).unwrap());
        assert!(!tree.keys().any(|path| path.ends_with("-seed")));
        assert_eq!(build(&machine()), build(&machine()));
    }

    #[test]
    fn an_ordinary_guests_has_seeds() {
        let machine = Machine {
            realm: false,
            initrd: 0..0,
            seed: Some(Seed {
                kaslr: 5,
                rng: [7; 32],
            }),
            ..machine()
        };
        let tree = read(&build(&machine).unwrap());
        assert_eq!(tree["/psci/method"], b"hvc\0");
        assert_eq!(tree["/chosen/kaslr-seed"], cells(&[0, 5]));
        assert_eq!(tree["/chosen/rng-seed"], [7; 32]);
        assert!(!tree.contains_key("/chosen/linux,initrd-start"));
    }

    #[test]
    fn a_command_line_with_nul_is_refused() {
        let mut machine = machine();
        machine.cmdline = "a\0b".into();
        assert!(build(&machine).is_err());
    }
}
