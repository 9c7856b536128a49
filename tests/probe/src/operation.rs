// SPDX-License-Identifier: GPL-2.0

//! Stateful operations from beginning to end, without a line for each step.

use kvm_arm_rmi::rmi::{Fid, MemoryRequest, ReturnCode, Status, GRANULE_SIZE};

use crate::descriptor::{Range, Request};
use crate::memory;
use crate::probe::Probe;
use crate::show::Code;

/// Words in a page.
pub(crate) const LIST_WORDS: u64 = GRANULE_SIZE / 8;

impl Probe {
    /// Begins an operation that has to end with SUCCESS, and gives and takes what it asks for.
    pub(crate) fn complete(&mut self, fid: Fid, args: &[u64]) {
        let regs = self.smc(fid, args);
        let code = ReturnCode::new(regs.x(0));
        let code = match code.status() {
            Status::Incomplete => self.proceed(regs.x(1), code, regs.x(2)),
            _ => code,
        };
        assert!(
            code.status() == Status::Success,
            "{} ended with {}",
            fid.name(),
            Code(code)
        );
    }

    /// Sees an operation through that answered `code`; `wants` is X2 if it wants memory.
    pub(crate) fn proceed(&mut self, handle: u64, mut code: ReturnCode, wants: u64) -> ReturnCode {
        let list = self.pool.take(1, GRANULE_SIZE);
        let mut wants = Request(wants);
        while code.status() == Status::Incomplete {
            let regs = match code.memory_request() {
                MemoryRequest::Donate => {
                    assert!(wants.is_plain(), "an operation wants {wants}");
                    let base = self.pool.take(wants.count(), GRANULE_SIZE);
                    self.delegate(base, wants.count());
                    for n in 0..wants.count() {
                        memory::write(list + n * 8, Range::pages(base + n * GRANULE_SIZE, 1).0);
                    }
                    let count = wants.count();
                    self.smc(Fid::OP_MEM_DONATE, &[handle, list, count])
                }
                MemoryRequest::Reclaim => {
                    self.smc(Fid::OP_MEM_RECLAIM, &[handle, list, LIST_WORDS])
                }
                _ => self.smc(Fid::OP_CONTINUE, &[handle, 0]),
            };
            code = ReturnCode::new(regs.x(0));
            wants = Request(regs.x(2));
        }
        code
    }
}
