// SPDX-License-Identifier: GPL-2.0

//! The guest's devices, and where they are.

use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use super::vm::Vm;
use crate::args::{self, Args};
use crate::bus::{lock, Bus, Shared};
use crate::end::{End, News};
use crate::error::{Result, Trying};
use crate::layout;
use crate::panic::Pvpanic;
use crate::serial::Serial;
use crate::virtio::block::Block;
use crate::virtio::console::Console;
use crate::virtio::mmio::Transport;
use crate::virtio::rng::{Rng, RANDOM};

/// Gives bytes to the guest; says how many it took.
pub type Input = Box<dyn FnMut(&[u8]) -> usize + Send>;

/// Makes all devices; what is typed goes to the console that `args` say. Both consoles show what
/// the guest writes on standard output. The interrupt controller is there.
///
/// # Errors
///
/// A disk's file cannot be opened, or there are too many files open.
pub fn make(vm: &Vm, args: &Args, news: &Sender<News>) -> Result<(Bus, Input)> {
    let mut bus = Bus::default();
    let irq = vm.interrupt(layout::SERIAL_IRQ)?;
    let serial = Arc::new(Mutex::new(Serial::new(Box::new(io::stdout()), irq)));
    bus.add(layout::SERIAL, layout::SERIAL_SIZE, serial.clone());

    let news = news.clone();
    let panicked = move || {
        let _ = news.send(Ok(Some(End::Crash("its kernel panicked".into()))));
    };
    let pvpanic = Arc::new(Mutex::new(Pvpanic::new(panicked)));
    bus.add(layout::PVPANIC, layout::PVPANIC_SIZE, pvpanic);

    // In a realm, drivers give addresses with the shared bit. Others are private memory, of which
    // we have nothing to show.
    let shared = match vm.private {
        Some(_) => layout::shared_bit(layout::ipa_bits(args.memory)),
        None => 0,
    };
    let mut virtio = Virtio {
        vm,
        memory: vm.memory.seen_with(shared)?,
        count: 0,
    };
    let (memory, irq) = virtio.next()?;
    let console = Transport::new(Console::new(Box::new(io::stdout())), memory, irq);
    let console = Arc::new(Mutex::new(console));
    virtio.add(&mut bus, console.clone());
    let (memory, irq) = virtio.next()?;
    let rng = Rng::new().trying(RANDOM)?;
    virtio.add(
        &mut bus,
        Arc::new(Mutex::new(Transport::new(rng, memory, irq))),
    );
    for disk in &args.disks {
        let (memory, irq) = virtio.next()?;
        let disk = Block::open(&disk.path, disk.read_only).trying(disk.path.display())?;
        virtio.add(
            &mut bus,
            Arc::new(Mutex::new(Transport::new(disk, memory, irq))),
        );
    }

    let input: Input = match args.console {
        args::Console::Virtio => Box::new(move |bytes| lock(&console).input(bytes)),
        args::Console::Serial => Box::new(move |bytes| lock(&serial).input(bytes)),
    };
    Ok((bus, input))
}

/// Where the next virtio device comes.
struct Virtio<'v> {
    vm: &'v Vm,
    memory: GuestMemoryMmap,
    count: usize,
}

impl Virtio<'_> {
    /// What it needs.
    fn next(&self) -> Result<(GuestMemoryMmap, EventFd)> {
        let (_, irq) = layout::virtio(self.count);
        Ok((self.memory.clone(), self.vm.interrupt(irq)?))
    }

    /// Puts it on the bus.
    fn add(&mut self, bus: &mut Bus, device: Shared) {
        let (base, _) = layout::virtio(self.count);
        bus.add(base, layout::VIRTIO_SIZE, device);
        self.count += 1;
    }
}
