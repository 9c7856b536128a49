// SPDX-License-Identifier: GPL-2.0

//! Why a CPU comes back from KVM_RUN, and what is done about it.

use std::sync::atomic::Ordering;

use kvm_arm_rmi::uapi::KvmArmRmiMemoryFault;
use kvm_bindings::KVM_MEMORY_EXIT_FLAG_PRIVATE;
use kvm_ioctls::VcpuExit;
use realm_guest::{mailbox, PAGE_SIZE};

use super::{external_abort, x, Access, Cpu, End, Treat};
use crate::realm::{ensure, Result};

/// The first offset after the mailbox and [`Cpu::device`].
const END: u64 = 2 * PAGE_SIZE;
/// How often the same fault may come before something else happens.
const FAULT_LIMIT: u32 = 100;

impl Cpu<'_> {
    /// Enters the VM once and deals with why it came back.
    pub(super) fn step(&mut self) -> Result<Option<End>> {
        let exit = match self.fd.run() {
            Ok(exit) => exit,
            Err(error) => return self.failed(error.errno()),
        };
        match exit {
            VcpuExit::MmioRead(address, data) => {
                let size = data.len();
                self.read(address, size)
            }
            VcpuExit::MmioWrite(address, data) => {
                let mut bytes = [0; 8];
                bytes[..data.len()].copy_from_slice(data);
                let size = data.len();
                self.write(address, size, u64::from_le_bytes(bytes))
            }
            VcpuExit::MemoryFault { flags, gpa, size } => self.memory_fault(flags, gpa, size),
            VcpuExit::Hypercall(call) => {
                let number = call.nr;
                self.hypercall(number)
            }
            VcpuExit::SystemEvent(kind, _) => Ok(Some(End::Event(kind))),
            VcpuExit::Shutdown => Ok(Some(End::Shutdown)),
            VcpuExit::InternalError => self.internal_error(),
            other => Err(format!("unexpected exit {other:?}").into()),
        }
    }

    /// The realm is dead after that, whoever runs it.
    fn internal_error(&mut self) -> Result<Option<End>> {
        match self.fd.run() {
            Err(error) if error.errno() == libc::EIO => Err("InternalError".into()),
            other => Err(format!("after an internal error the realm runs: {other:?}").into()),
        }
    }

    fn failed(&mut self, errno: i32) -> Result<Option<End>> {
        match errno {
            libc::EINTR => {
                self.tally.interrupted += 1;
                let stop = self.vm.stop.load(Ordering::Acquire);
                Ok(stop.then_some(End::Stopped))
            }
            libc::EAGAIN => {
                self.tally.again += 1;
                std::thread::yield_now();
                Ok(None)
            }
            _ => Err(format!("KVM_RUN: {}", std::io::Error::from_raw_os_error(errno)).into()),
        }
    }

    /// Gives the guest the value that it has read.
    pub(super) fn answer(&mut self, value: u64) {
        let run = self.fd.get_kvm_run();
        // Any of the union's fields may be written; this is the one that a pending read looks at.
        run.__bindgen_anon_1.mmio.data = value.to_le_bytes();
    }

    /// `address` in the mailbox; what is in [`Cpu::device`] comes after it.
    fn offset(&self, address: u64) -> u64 {
        match self.device.map(|device| address.wrapping_sub(device)) {
            Some(offset @ 0..PAGE_SIZE) => PAGE_SIZE + offset,
            _ => match address.wrapping_sub(self.mailbox) {
                offset @ 0..PAGE_SIZE => offset,
                _ => u64::MAX,
            },
        }
    }

    fn read(&mut self, address: u64, size: usize) -> Result<Option<End>> {
        self.tally.mmio += 1;
        self.fault = (0, 0, 0, 0);
        match self.offset(address) {
            mailbox::ORDER if size == 8 => {
                let end = match std::mem::take(&mut self.done) {
                    true => End::Done(self.results),
                    false => End::Restarted,
                };
                return Ok(Some(end));
            }
            mailbox::ORDER_DONE if size == 8 => return Ok(Some(End::Done(self.results))),
            mailbox::SOURCE if size == 8 => {
                self.source += 1;
                self.answer(self.source);
            }
            offset @ mailbox::FREE..END => {
                self.free(offset, size, None)?;
            }
            offset => {
                let argument = offset.wrapping_sub(mailbox::ARGUMENTS) / 8;
                match self.arguments.get(argument as usize) {
                    Some(value) if offset % 8 == 0 && size == 8 => self.answer(*value),
                    _ => return Err(format!("a read of {size} bytes at {address:#x}").into()),
                }
            }
        }
        Ok(None)
    }

    fn write(&mut self, address: u64, size: usize, value: u64) -> Result<Option<End>> {
        self.tally.mmio += 1;
        self.fault = (0, 0, 0, 0);
        match self.offset(address) {
            mailbox::SINK if size == 8 => self.sunk = self.sunk.wrapping_add(value),
            mailbox::FAILED => {
                let [_, esr, elr, far, ..] = self.results;
                return Err(format!(
                    "the guest got an exception: ESR {esr:#x}, ELR {elr:#x}, FAR {far:#x}"
                )
                .into());
            }
            offset @ mailbox::FREE..END => {
                self.free(offset, size, Some(value))?;
            }
            offset => {
                let result = offset.wrapping_sub(mailbox::RESULTS) / 8;
                match self.results.get_mut(result as usize) {
                    Some(to) if offset % 8 == 0 && size == 8 => *to = value,
                    _ => return Err(format!("a write of {size} bytes at {address:#x}").into()),
                }
                self.done = result == 0;
            }
        }
        Ok(None)
    }

    fn free(&mut self, offset: u64, size: usize, written: Option<u64>) -> Result<()> {
        self.accesses.push(Access {
            offset: offset - mailbox::FREE,
            size,
            written,
        });
        match self.treat {
            Treat::Value(value) => {
                if written.is_none() {
                    self.answer(value);
                }
                Ok(())
            }
            Treat::Abort => Ok(self.fd.set_vcpu_events(&external_abort())?),
        }
    }

    /// What `kvm_run` has of a memory fault.
    pub(crate) fn long_fault(&mut self) -> &mut KvmArmRmiMemoryFault {
        let exits = &raw mut self.fd.get_kvm_run().__bindgen_anon_1;
        const _: () = assert!(size_of::<KvmArmRmiMemoryFault>() <= 256);
        // SAFETY: The union has 256 bytes, aligned to 8, any of which may have any value; the page stays
        // as long as the CPU.
        unsafe { &mut *exits.cast() }
    }

    fn memory_fault(&mut self, flags: u64, gpa: u64, size: u64) -> Result<Option<End>> {
        self.tally.faults += 1;
        let answer = std::mem::take(&mut self.fault_answer);
        let fault = self.long_fault();
        let cause = fault.cause;
        if answer != 0 {
            fault.answer = answer;
        }
        self.causes.push(cause);
        if answer != 0 {
            return Ok(None);
        }
        let (f, g, s, times) = self.fault;
        let again = (f, g, s) == (flags, gpa, size);
        let times = if again { times + 1 } else { 1 };
        self.fault = (flags, gpa, size, times);
        let private = flags & u64::from(KVM_MEMORY_EXIT_FLAG_PRIVATE) != 0;
        ensure!(
            times <= FAULT_LIMIT,
            "the same fault for ever: {gpa:#x}, {size:#x} bytes, private: {private}"
        );
        self.vm.convert(gpa, size, private)?;
        Ok(None)
    }

    fn hypercall(&mut self, number: u64) -> Result<Option<End>> {
        self.tally.hypercalls += 1;
        self.hypercalls.push(number);
        for (n, value) in (0..).zip(self.hypercall_answer) {
            self.set(x(n), value)?;
        }
        Ok(None)
    }
}
