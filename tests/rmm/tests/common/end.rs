// SPDX-License-Identifier: GPL-2.0

//! A host that takes everything down again.

use std::sync::atomic::Ordering;

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};

use super::guest::{Host, IPA};
use super::{pa, v1};

impl Host {
    /// Takes a REC down and returns the donated ranges.
    #[track_caller]
    pub(crate) fn rec_destroy(&self, rec: u64) -> Vec<u64> {
        if self.is_v1() {
            self.ok(Fid::REC_DESTROY, &[rec]);
            return Vec::new();
        }
        let regs = self.call(Fid::REC_DESTROY, &[rec]);
        assert_eq!((regs.x(0), regs.x(2)), (0x20d, 0));
        let ranges = self.reclaim(regs.x(1));
        self.ok(Fid::OP_CONTINUE, &[regs.x(1), 0]);
        ranges
    }

    /// Takes a realm down and returns the donated ranges.
    #[track_caller]
    pub(crate) fn realm_destroy(&self, rd: u64) -> Vec<u64> {
        let regs = self.call(Fid::REALM_DESTROY, &[rd]);
        if regs.x(0) == 0 {
            return Vec::new();
        }
        assert_eq!((regs.x(0), regs.x(2)), (0x20d, 0));
        let ranges = self.reclaim(regs.x(1));
        self.ok(Fid::OP_CONTINUE, &[regs.x(1), 0]);
        ranges
    }

    /// Takes everything back that an operation gives.
    #[track_caller]
    pub(crate) fn reclaim(&self, handle: u64) -> Vec<u64> {
        let mut ranges = Vec::new();
        loop {
            let regs = self.call(Fid::OP_MEM_RECLAIM, &[handle, self.scratch(), 512]);
            let count = regs.x(1) as usize;
            ranges.extend_from_slice(&self.fake().data(self.scratch())[..count]);
            match regs.x(0) {
                0x20d => {}
                code => {
                    assert_eq!(code, 0xd);
                    return ranges;
                }
            }
        }
    }

    /// As [`Self::end`], for a realm that was never active.
    pub(crate) fn end_before_active(self, recs: &[u64]) {
        self.ok(Fid::REALM_ACTIVATE, &[self.rd()]);
        self.end(recs);
    }

    /// Takes everything down and checks that the host has every granule back.
    pub(crate) fn end(self, recs: &[u64]) {
        if !self.is_v1() {
            self.ok(Fid::REALM_TERMINATE, &[self.rd()]);
        }
        for rec in recs {
            self.rec_destroy(*rec);
        }
        for n in 0..512 {
            let ipa = IPA + n * GRANULE_SIZE;
            if self.is_v1() {
                // Nothing is there, or else it is taken away.
                self.call(v1::DATA_DESTROY, &[self.rd(), ipa]);
                continue;
            }
            let regs = self.call(
                Fid::RTT_DATA_UNMAP,
                &[self.rd(), ipa, ipa + GRANULE_SIZE, 1, 0],
            );
            assert_eq!(regs.x(0), 0, "{ipa:#x}");
        }
        for level in [3, 2] {
            self.ok(Fid::RTT_DESTROY, &[self.rd(), IPA, level]);
        }
        self.realm_destroy(self.rd());
        for n in 0..self.unused.load(Ordering::Relaxed) {
            if self.fake().pas(pa(n)) == super::Pas::Realm && !super::OWN.contains(&pa(n)) {
                self.undelegate(pa(n));
            }
        }
        assert_eq!(self.fake().realm_granules(), 0);
    }
}
