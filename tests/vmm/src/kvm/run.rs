// SPDX-License-Identifier: GPL-2.0

//! A guest from its beginning to its end.

use std::fs;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::populate::populate;
use super::prefault::prefault;
use super::threads::{self, Guest};
use super::vm::Vm;
use super::{attributes, component, cpu, devices, host};
use crate::args::{Args, Transport};
use crate::console;
use crate::end::{self, End, News};
use crate::error::{Result, Trying};
use crate::gate::{self, Gate};
use crate::layout::RAM;
use crate::load::load;
use crate::stats::Stats;
use crate::terminal::Raw;

/// Boots what `args` say, and waits for its end.
///
/// # Errors
///
/// Something did not work; the guest may not have been there at all.
pub fn run(args: &Args) -> Result<End> {
    let stats = Arc::new(Stats::default());
    let (news, listen) = channel();
    let result = boot(args, &stats, news, &listen);
    let summary = stats.summary();
    if !args.quiet && !summary.is_empty() {
        console::say(summary);
    }
    if let Some(path) = &args.stats {
        fs::write(path, stats.to_string()).trying(path.display())?;
    }
    result
}

fn boot(
    args: &Args,
    stats: &Arc<Stats>,
    news: Sender<News>,
    listen: &Receiver<News>,
) -> Result<End> {
    let gate = Arc::new(Gate::default());
    threads::wait_for_signals(news.clone(), gate.clone(), args.quiet)?;
    gate::prepare().trying("sigaction")?;
    let kvm = host::open(args.is_realm())?;
    if args.is_realm() {
        host::check_memory(args.memory)?;
    }
    let vm = Vm::new(&kvm, args)?;
    if args.is_realm() {
        attributes::choose(&vm, args)?;
    }
    let cpus = (0..args.cpus).map(|id| cpu::create(&vm, id));
    let mut cpus: Vec<_> = cpus.collect::<Result<_>>()?;
    let _gic = vm.add_gic()?;
    let _its = match args.transport {
        Transport::Mmio => None,
        Transport::Pci => Some(vm.add_its()?),
    };
    if args.pmu.is_some() {
        cpus.iter().try_for_each(cpu::init_pmu)?;
    }
    let devices = devices::make(&vm, args, &news)?;

    let loaded = load(&vm.memory, args)?;
    if vm.private.is_some() {
        if let Some(end) = populate(&vm, &loaded.ranges, listen, args.quiet, stats)? {
            return Ok(end);
        }
    }
    if let Some(first) = cpus.first_mut() {
        cpu::set_entry(first, loaded.entry, loaded.fdt)?;
        if args.prefault && vm.private.is_some() {
            let all = RAM..RAM + vm.memory.size();
            if let Some(end) = prefault(first, all, listen, args.quiet)? {
                return Ok(end);
            }
        }
    }

    let guest = Arc::new(Guest {
        vm,
        bus: devices.bus,
        stats: stats.clone(),
        gate,
    });
    let _terminal = Raw::new().trying("the terminal")?;
    threads::read_input(devices.input, news.clone(), guest.gate.clone())?;
    threads::go_on(devices.rest, guest.gate.clone())?;
    let forks = match args.fork_every {
        Some(ms) => {
            let time = Duration::from_millis(ms);
            Some(threads::fork_every(time, guest.clone(), news.clone())?)
        }
        None => None,
    };
    let before = component::private_maps();
    let began = Instant::now();
    let running = (0..).zip(cpus).map(|(id, cpu)| {
        threads::run_cpu(cpu, id, guest.clone(), news.clone()) //
    });
    let running: Vec<_> = running.collect::<Result<_>>()?;
    let end = end::first(listen, running.len());
    stats.run_microseconds.set_time(began.elapsed());
    if let (Some(before), Some(now)) = (before, component::private_maps()) {
        stats.private_maps.add(now - before);
    }
    threads::stop(&guest, running)?;
    forks.map_or(Ok(()), threads::Forks::join)?;
    end
}
