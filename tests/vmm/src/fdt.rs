// SPDX-License-Identifier: GPL-2.0

//! The device tree: what the guest's kernel is told of its machine.

use std::ops::Range;

use vm_fdt::{FdtWriter, FdtWriterResult};

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

/// The phandle of the interrupt controller, the only one there is.
const GIC: u32 = 1;
/// Cells of an interrupt: shared between CPUs, or one of each CPU's own.
const SHARED: u32 = 0;
const OWN: u32 = 1;
/// An event is a pulse, which is what an irqfd makes; the timers' are levels.
const PULSE: u32 = 1;
const LEVEL: u32 = 4;
/// The timers: secure, non-secure, virtual, hypervisor.
const TIMERS: [u32; 4] = [13, 14, 11, 10];
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
    devices(&mut fdt, machine)?;

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
    fdt.end_node(gic)?;

    let timer = fdt.begin_node("timer")?;
    fdt.property_string("compatible", "arm,armv8-timer")?;
    let lines = TIMERS.map(|number| [OWN, number, LEVEL]);
    fdt.property_array_u32("interrupts", lines.as_flattened())?;
    fdt.property_null("always-on")?;
    fdt.end_node(timer)
}

fn devices(fdt: &mut FdtWriter, machine: &Machine) -> FdtWriterResult<()> {
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
    fdt.end_node(pvpanic)?;

    for number in 0..machine.virtio {
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
