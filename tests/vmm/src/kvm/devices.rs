// SPDX-License-Identifier: GPL-2.0

//! The guest's devices, and where they are.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};

use vm_memory::GuestMemoryMmap;

use super::threads::Rest;
use super::vm::Vm;
use crate::args::{self, Args, Transport};
use crate::bus::{lock, Bus, Place};
use crate::console;
use crate::end::{End, News};
use crate::error::{Error, Result, Trying};
use crate::layout;
use crate::panic::Pvpanic;
use crate::pci::ecam::{self, Ecam};
use crate::pci::Function;
use crate::serial::Serial;
use crate::virtio::block::Block;
use crate::virtio::console::{Console, Typed};
use crate::virtio::rng::{Rng, RANDOM};
use crate::virtio::{mmio, pci, Device};

/// Gives bytes to the guest; says how many it took.
pub type Input = Box<dyn FnMut(&[u8]) -> usize + Send>;

/// All devices.
pub struct Devices {
    /// Where the guest finds them.
    pub bus: Bus,
    /// Where what is typed goes.
    pub input: Input,
    /// What some leave for later.
    pub rest: Rest,
}

/// Makes all devices; what is typed goes to the console that `args` say. Both consoles show what
/// the guest writes on standard output. The interrupt controller is there.
///
/// # Errors
///
/// A disk's file cannot be opened, or there are too many files open.
pub fn make(vm: &Vm, args: &Args, news: &Sender<News>) -> Result<Devices> {
    let mut bus = Bus::default();
    let irq = vm.interrupt(layout::SERIAL_IRQ)?;
    let serial = Arc::new(Mutex::new(Serial::new(Box::new(console::output()), irq)));
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
    let (later, listen) = channel();
    let mut virtio = Virtio {
        vm,
        transport: args.transport,
        memory: vm.memory.seen_with(shared)?,
        bus,
        count: 0,
        functions: Vec::new(),
        later,
    };
    let console = match virtio.add(Console::new(Box::new(console::output())))? {
        Added::Mmio(console) => console as Arc<Mutex<dyn Typed>>,
        Added::Pci(console) => console,
    };
    virtio.add(Rng::new().trying(RANDOM)?)?;
    for disk in &args.disks {
        let disk = Block::open(&disk.path, disk.read_only).trying(disk.path.display())?;
        virtio.add(disk)?;
    }

    let input: Input = match args.console {
        args::Console::Virtio => Box::new(move |bytes| lock(&console).input(bytes)),
        args::Console::Serial => Box::new(move |bytes| lock(&serial).input(bytes)),
    };
    let (bus, rest) = virtio.finish(listen);
    Ok(Devices { bus, input, rest })
}

/// The virtio devices so far.
struct Virtio<'v> {
    vm: &'v Vm,
    transport: Transport,
    memory: GuestMemoryMmap,
    bus: Bus,
    count: usize,
    functions: Vec<Arc<Mutex<dyn Function>>>,
    later: Sender<usize>,
}

/// A virtio device with its transport.
enum Added<D> {
    Mmio(Arc<Mutex<mmio::Transport<D>>>),
    Pci(Arc<Mutex<pci::Transport<D>>>),
}

impl Virtio<'_> {
    /// Adds another one.
    fn add<D: Device + 'static>(&mut self, device: D) -> Result<Added<D>> {
        let number = self.count;
        self.count += 1;
        match self.transport {
            Transport::Mmio => {
                let (base, irq) = layout::virtio(number);
                let irq = self.vm.interrupt(irq)?;
                let device = mmio::Transport::new(device, self.memory.clone(), irq);
                let device = Arc::new(Mutex::new(device));
                self.bus.add(base, layout::VIRTIO_SIZE, device.clone());
                Ok(Added::Mmio(device))
            }
            Transport::Pci => {
                let later = self.later.clone();
                let wires = pci::Wires {
                    send: Box::new(self.vm.messages(ecam::requester_id(number))),
                    later: Box::new(move || {
                        // Nobody listens any more at the end.
                        let _ = later.send(number);
                    }),
                };
                let place = Place::nowhere();
                let device = pci::Transport::new(device, self.memory.clone(), wires, place.clone());
                let device =
                    device.ok_or_else(|| Error::plain("a device's capabilities have no room"))?;
                let device = Arc::new(Mutex::new(device));
                self.bus.add_moving(place, pci::SIZE, device.clone());
                self.functions.push(device.clone());
                Ok(Added::Pci(device))
            }
        }
    }

    /// Those were all.
    fn finish(mut self, listen: Receiver<usize>) -> (Bus, Rest) {
        if self.transport == Transport::Pci {
            let ecam = Arc::new(Mutex::new(Ecam::new(self.functions.clone())));
            self.bus.add(layout::PCI_ECAM, layout::PCI_ECAM_SIZE, ecam);
        }
        let rest = Rest {
            devices: self.functions,
            listen,
        };
        (self.bus, rest)
    }
}
