// SPDX-License-Identifier: GPL-2.0

//! VMMs that are killed, whatever their realms were doing.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use kvm_arm_rmi::uapi::KvmArmRmiPopulate;
use realm_guest::{Op, Order, BASE};

use super::brief::with_cpu;
use super::memory::{Huge, Mapping};
use super::run::chunk;
use super::run::memory::set_ripas;
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, Result};

/// What a victim may be doing.
const DOINGS: [&str; 5] = ["made", "populate", "touch", "convert", "spin"];
/// How long it may do so before it is killed.
const DELAYS: [u64; 3] = [0, 20, 300];

const SHAPE: Shape = Shape {
    memory: 256 << 20,
    ..Shape::REALM
};

/// `realm killed`.
pub(super) fn main() -> Result<()> {
    let before = debugfs::delegated()?;
    for doing in DOINGS {
        for delay in DELAYS {
            kill(&[doing], delay).map_err(|e| format!("{doing}, {delay} ms: {e}"))?;
            debugfs::expect_delegated(before).map_err(|e| format!("{doing}, {delay} ms: {e}"))?;
        }
        println!("killed in {doing}: ok");
    }
    Ok(())
}

/// A victim that does this is killed, when it has begun and after so many milliseconds.
pub(super) fn kill(doing: &[&str], delay: u64) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["realm", "victim"])
        .args(doing)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no pipe")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line == "ready\n" {
        thread::sleep(Duration::from_millis(delay));
    }
    child.kill()?;
    let status = child.wait()?;
    ensure!(line == "ready\n", "it did not begin: {status}");
    // It never ends by itself.
    use std::os::unix::process::ExitStatusExt;
    ensure!(
        status.signal() == Some(libc::SIGKILL),
        "it ended before it was killed: {status}"
    );
    Ok(())
}

fn ready() {
    println!("ready");
}

fn forever() -> ! {
    loop {
        thread::park();
    }
}

/// `realm victim DOING`: does that until it is killed.
pub(super) fn victim(doing: &str) -> Result<()> {
    match doing {
        "made" => {
            let vm = Vm::new(SHAPE)?;
            vm.populate_once(&mut KvmArmRmiPopulate::default())?;
            ready();
            forever()
        }
        "populate" => {
            let vm = Vm::new(SHAPE)?;
            let source = Mapping::new(SHAPE.memory, Huge::Never)?;
            ready();
            vm.populate(BASE, &source, true)?;
            forever()
        }
        _ => with_cpu(SHAPE, |cpu| {
            ready();
            let (base, size) = (chunk(0), 0x20_0000);
            match doing {
                "touch" => {
                    let size = SHAPE.memory - (base - BASE);
                    cpu.expect(Order::pages(Op::Touch, base, size), &[], 0)?;
                    forever()
                }
                "convert" => loop {
                    cpu.expect(Order::pages(Op::Touch, base, size), &[], 0)?;
                    set_ripas(cpu, Op::SetEmpty, base, size)?;
                    cpu.expect(Order::pages(Op::Touch, base, size).shared(), &[], 0)?;
                    set_ripas(cpu, Op::SetRam, base, size)?;
                },
                "spin" => loop {
                    cpu.order(Order::new(Op::Spin, u64::from(u32::MAX >> 4)), &[])?;
                },
                _ => Err("no such doing".into()),
            }
        }),
    }
}

/// `realm victim touched MiB`: has touched so much private memory when it is ready, and waits.
pub(super) fn touched(mib: u64) -> Result<()> {
    with_cpu(SHAPE, |cpu| {
        cpu.expect(Order::pages(Op::Touch, chunk(0), mib << 20), &[], 0)?;
        ready();
        forever()
    })
}
