// SPDX-License-Identifier: GPL-2.0

//! RMI 1.0: the numbers of its commands, and what a host does otherwise that speaks it.

use kvm_arm_rmi::rmi::{Fid, Status, GRANULE_SIZE};
use rmm::rmi::Dialect;

use super::guest::Host;
use super::realm::{param, params, FREE, PAGE, RD, ROOT, SHARED};
use super::{pa, Machine, OWN};

pub(crate) const GRANULE_DELEGATE: Fid = Fid::from_raw(0xc400_0151);
pub(crate) const GRANULE_UNDELEGATE: Fid = Fid::from_raw(0xc400_0152);
pub(crate) const DATA_CREATE: Fid = Fid::from_raw(0xc400_0153);
pub(crate) const DATA_CREATE_UNKNOWN: Fid = Fid::from_raw(0xc400_0154);
pub(crate) const DATA_DESTROY: Fid = Fid::from_raw(0xc400_0155);
pub(crate) const RTT_MAP_UNPROTECTED: Fid = Fid::from_raw(0xc400_015f);
pub(crate) const RTT_UNMAP_UNPROTECTED: Fid = Fid::from_raw(0xc400_0162);
pub(crate) const REC_AUX_COUNT: Fid = Fid::from_raw(0xc400_0167);

/// Word of `RmiRealmParams` with the VMID.
pub(crate) const VMID: usize = 0x800 / 8;

/// The first granule that a realm with tables does not need: [`Machine::v1_with_tables`].
pub(crate) const NEXT: u64 = FREE + 4;

/// Normal memory that the realm can read and write, in a descriptor.
pub(crate) const WRITE_BACK: u64 = 6 << 2 | 3 << 6;

impl Machine {
    /// A machine whose RMM speaks RMI 1.0, with a new realm whose VMID is `vmid`.
    pub(crate) fn v1_with_realm(vmid: u64) -> Self {
        let machine = Self::speaking(Dialect::V1);
        machine.delegate_each(RD, ROOT + GRANULE_SIZE);
        let mut page = params();
        page[VMID] = vmid;
        assert_eq!((page[param::RTT_BASE], ROOT), (ROOT, RD + GRANULE_SIZE));
        machine.fake().host_write(PAGE, &page);
        machine.expect(Fid::REALM_CREATE, [RD, PAGE], Status::Success, []);
        machine
    }

    /// The same with tables for the first 2 MiB of both halves: granules [`FREE`] to 3 above.
    pub(crate) fn v1_with_tables() -> Self {
        let machine = Self::v1_with_realm(1);
        let next = machine.v1_tables(FREE, 0);
        machine.v1_tables(next, SHARED);
        machine
    }

    /// Delegates the granules of a range.
    #[track_caller]
    pub(crate) fn delegate_each(&self, base: u64, top: u64) {
        for pa in (base..top).step_by(GRANULE_SIZE as usize) {
            self.expect(GRANULE_DELEGATE, [pa], Status::Success, []);
        }
    }

    /// Delegates granules `n` and up and makes them tables for `ipa`, at levels 2 and 3. Returns what comes
    /// after them.
    #[track_caller]
    pub(crate) fn v1_tables(&self, n: u64, ipa: u64) -> u64 {
        self.delegate_each(pa(n), pa(n + 2));
        for level in [2, 3] {
            let table = pa(n + level - 2);
            self.create_table_again(table, ipa, level);
        }
        n + 2
    }

    /// Empties a table of a realm and destroys those below it.
    pub(crate) fn v1_empty_table(&self, rd: u64, base: u64, level: i8) {
        let size = rmm::rtt::block_size(level);
        for ipa in (base..base + 512 * size).step_by(size as usize) {
            let at = [rd, ipa, level as u64];
            let regs = self.call(Fid::RTT_READ_ENTRY, &at);
            assert_eq!(regs.0[..2], [0, level as u64], "{ipa:#x}");
            let below = [rd, ipa, (level + 1) as u64];
            match (regs.x(2), level) {
                (2, _) => {
                    self.v1_empty_table(rd, ipa, level + 1);
                    assert_eq!(self.call(Fid::RTT_DESTROY, &below).x(0), 0, "{ipa:#x}");
                }
                (1, _) if ipa >= SHARED => {
                    assert_eq!(self.call(RTT_UNMAP_UNPROTECTED, &at).x(0), 0);
                }
                (1, 3) => assert_eq!(self.call(DATA_DESTROY, &at).x(0), 0),
                // A block goes page by page.
                (1, _) => {
                    let spare = self.spare();
                    let table = [rd, spare, ipa, below[2]];
                    self.expect(GRANULE_DELEGATE, [spare], Status::Success, []);
                    self.expect(Fid::RTT_CREATE, table, Status::Success, []);
                    self.v1_empty_table(rd, ipa, level + 1);
                    assert_eq!(self.call(Fid::RTT_DESTROY, &below).x(0), 0);
                }
                _ => {}
            }
        }
    }

    /// A granule of the host's that nobody uses.
    fn spare(&self) -> u64 {
        let free = |pa: &u64| !OWN.contains(pa) && self.fake().pas(*pa) == super::Pas::NonSecure;
        let all = (0..super::RAM_GRANULES).rev().map(pa);
        all.into_iter().find(free).expect("no free granule")
    }

    /// Undelegates every granule that is in the Realm address space but the RMM's own.
    pub(crate) fn v1_undelegate_all(&self) {
        for pa in self.fake().in_realm_space() {
            self.expect(GRANULE_UNDELEGATE, [pa], Status::Success, []);
        }
        assert_eq!(self.fake().realm_granules(), 0);
    }

    /// Takes the realm apart, whatever is in it but RECs, and checks that the host gets back every granule.
    pub(crate) fn v1_destroy_realm(&self) {
        self.v1_empty_table(RD, 0, 1);
        self.expect(Fid::REALM_DESTROY, [RD], Status::Success, []);
        self.v1_undelegate_all();
    }
}

impl Host {
    /// True if the RMM speaks RMI 1.0.
    pub(crate) fn is_v1(&self) -> bool {
        self.rmm.dialect() == Dialect::V1
    }

    /// Undelegates one granule.
    #[track_caller]
    pub(crate) fn undelegate(&self, pa: u64) {
        match self.is_v1() {
            true => self.ok(GRANULE_UNDELEGATE, &[pa]),
            false => self.ok(Fid::GRANULE_RANGE_UNDELEGATE, &[pa, pa + GRANULE_SIZE]),
        }
    }

    /// Names `count` granules from `aux` on in the parameters of a REC.
    pub(crate) fn name_aux(&self, aux: u64, count: u64) {
        let mut params = self.fake().data(self.scratch());
        params[0x100] = count;
        for n in 0..count.min(16) {
            params[0x101 + n as usize] = aux + n * GRANULE_SIZE;
        }
        self.fake().host_write(self.scratch(), &params);
    }

    /// Makes a REC of the parameters in the scratch page. Returns its PA.
    #[track_caller]
    pub(crate) fn rec_at_once(&self) -> u64 {
        let rec = self.delegated(1);
        self.name_aux(self.delegated(16), 16);
        self.ok(Fid::REC_CREATE, &[self.rd(), rec, self.scratch()]);
        rec
    }
}
