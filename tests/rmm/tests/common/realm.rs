// SPDX-License-Identifier: GPL-2.0

//! A host that makes a realm, and names for what it passes to the RMM.

use kvm_arm_rmi::rmi::{Fid, Regs, Status, GRANULE_SIZE};
use rmm::platform::{GranuleData, GRANULE_WORDS};
use rmm::rtt::block_size;

use super::{pa, Machine};

/// The RD of the realm.
pub(crate) const RD: u64 = pa(16);
/// Its root table.
pub(crate) const ROOT: u64 = pa(17);
/// A page of the host's for parameters and lists.
pub(crate) const PAGE: u64 = pa(18);
/// The first granule that the realm does not need.
pub(crate) const FREE: u64 = 24;
/// First granule of a block of 2 MiB.
pub(crate) const BLOCK: u64 = pa(512);
/// Bits of an IPA of the realm, whose tables start at level 1.
pub(crate) const IPA_BITS: u64 = 39;
/// First unprotected IPA.
pub(crate) const SHARED: u64 = 1 << (IPA_BITS - 1);

/// `RmiHipas` of RTT_READ_ENTRY.
pub(crate) const UNASSIGNED: u64 = 0;
pub(crate) const ASSIGNED: u64 = 1;
pub(crate) const TABLE: u64 = 2;

/// `RmiRipas` of RTT_READ_ENTRY.
pub(crate) const EMPTY: u64 = 0;
pub(crate) const RAM: u64 = 1;
pub(crate) const DESTROYED: u64 = 2;

/// Flags of the map and unmap commands: a descriptor in a register.
pub(crate) const SINGLE: u64 = 1;

/// Flags: a list of `n` descriptors.
pub(crate) fn list(n: u64) -> u64 {
    2 | n << 2
}

/// Flags of UNPROT_MAP: normal memory that the realm can read and write.
pub(crate) const WRITE_BACK: u64 = 6 << 16 | 3 << 19;

/// A descriptor of delegated memory: `count` blocks for entries at `level`.
pub(crate) fn desc(base: u64, count: u64, level: i8) -> u64 {
    base | count << 2 | (3 - level) as u64
}

/// A descriptor of the host's memory.
pub(crate) fn ns_desc(base: u64, count: u64, level: i8) -> u64 {
    desc(base, count, level) | 1 << 63
}

/// Words of `RmiRealmParams`.
pub(crate) mod param {
    pub(crate) const FLAGS0: usize = 0;
    pub(crate) const S2SZ: usize = 1;
    pub(crate) const SVE_VL: usize = 2;
    pub(crate) const NUM_BPS: usize = 3;
    pub(crate) const NUM_WPS: usize = 4;
    pub(crate) const PMU_NUM_CTRS: usize = 5;
    pub(crate) const HASH_ALGO: usize = 6;
    pub(crate) const NUM_AUX_PLANES: usize = 7;
    pub(crate) const RPV: usize = 0x80;
    pub(crate) const ATS_PLANE: usize = 0x88;
    pub(crate) const RTT_BASE: usize = 0x101;
    pub(crate) const RTT_LEVEL_START: usize = 0x102;
    pub(crate) const RTT_NUM_START: usize = 0x103;
    pub(crate) const FLAGS1: usize = 0x104;
}

/// Parameters of a realm that the RMM accepts.
pub(crate) fn params() -> GranuleData {
    let mut params = [0; GRANULE_WORDS];
    params[param::S2SZ] = IPA_BITS;
    params[param::NUM_BPS] = 1;
    params[param::NUM_WPS] = 1;
    params[param::RTT_BASE] = ROOT;
    params[param::RTT_LEVEL_START] = 1;
    params[param::RTT_NUM_START] = 1;
    params
}

impl Machine {
    /// A machine with a new realm.
    pub(crate) fn with_realm() -> Self {
        let machine = Self::active();
        machine.delegate(RD, 2);
        machine.fake().host_write(PAGE, &params());
        machine.expect(Fid::REALM_CREATE, [RD, PAGE], Status::Success, []);
        machine
    }

    /// A machine with a new realm that has tables for the IPAs of the first 2 MiB, and of the first
    /// unprotected 2 MiB: granules [`FREE`] to 3 above it.
    pub(crate) fn with_tables() -> Self {
        let machine = Self::with_realm();
        machine.create_table(pa(FREE), 0, 2);
        machine.create_table(pa(FREE + 1), 0, 3);
        machine.create_table(pa(FREE + 2), SHARED, 2);
        machine.create_table(pa(FREE + 3), SHARED, 3);
        machine
    }

    /// Delegates `count` granules.
    #[track_caller]
    pub(crate) fn delegate(&self, base: u64, count: u64) {
        let top = base + count * GRANULE_SIZE;
        let mut at = base;
        while at < top {
            let regs = self.call(Fid::GRANULE_RANGE_DELEGATE, &[at, top]);
            assert_eq!(regs.x(0), 0, "{at:#x}");
            at = regs.x(1);
        }
    }

    /// Delegates a granule and makes it a table.
    #[track_caller]
    pub(crate) fn create_table(&self, rtt: u64, ipa: u64, level: u64) {
        self.delegate(rtt, 1);
        self.create_table_again(rtt, ipa, level);
    }

    /// Makes a delegated granule a table.
    #[track_caller]
    pub(crate) fn create_table_again(&self, rtt: u64, ipa: u64, level: u64) {
        self.expect(Fid::RTT_CREATE, [RD, rtt, ipa, level], Status::Success, []);
    }

    /// Makes a call and checks that it fails with ERROR_RTT at `level`, and its results.
    #[track_caller]
    pub(crate) fn expect_rtt<const N: usize, const M: usize>(
        &self,
        fid: Fid,
        args: [u64; N],
        level: u64,
        results: [u64; M],
    ) {
        let regs = self.call(fid, &args);
        let mut wanted = [u64::from(Status::ErrorRtt.raw()) | level << 8, 0, 0, 0];
        wanted[1..][..M].copy_from_slice(&results);
        assert_eq!(regs.0[..4], wanted, "{fid} {args:x?}");
    }

    /// Checks what RTT_READ_ENTRY says about `ipa` at `level`: the level at which the walk ends,
    /// HIPAS, descriptor and RIPAS.
    #[track_caller]
    pub(crate) fn expect_entry(&self, ipa: u64, level: u64, wanted: [u64; 4]) {
        let regs = self.call(Fid::RTT_READ_ENTRY, &[RD, ipa, level]);
        assert_eq!(regs.x(0), 0, "{ipa:#x}");
        assert_eq!(regs.0[1..5], wanted, "{ipa:#x}");
    }

    /// Makes `pages` granules of IPA from `ipa` on RAM.
    #[track_caller]
    pub(crate) fn init_ram(&self, ipa: u64, size: u64) {
        let top = ipa + size;
        self.expect(Fid::RTT_INIT_RIPAS, [RD, ipa, top], Status::Success, [top]);
    }

    /// Maps `count` delegated blocks.
    #[track_caller]
    pub(crate) fn map(&self, ipa: u64, base: u64, count: u64, level: i8) {
        let top = ipa + count * block_size(level);
        self.expect(
            Fid::RTT_DATA_MAP,
            [RD, ipa, top, SINGLE, desc(base, count, level)],
            Status::Success,
            [top],
        );
    }

    /// Maps `count` blocks of the host's.
    #[track_caller]
    pub(crate) fn map_shared(&self, ipa: u64, base: u64, count: u64, level: i8) {
        let top = ipa + count * block_size(level);
        self.expect(
            Fid::RTT_UNPROT_MAP,
            [
                RD,
                ipa,
                top,
                SINGLE | WRITE_BACK,
                ns_desc(base, count, level),
            ],
            Status::Success,
            [top],
        );
    }

    /// Makes the first REC of the realm, runnable, out of granules 64 to 80. Returns its address.
    pub(crate) fn create_rec(&self) -> u64 {
        let (rec, aux) = (pa(64), pa(65));
        self.delegate(rec, 17);
        let mut params = [0; GRANULE_WORDS];
        params[0] = 1;
        self.fake().host_write(PAGE, &params);
        let regs = self.call(Fid::REC_CREATE, &[RD, rec, PAGE]);
        assert_eq!((regs.x(0), regs.x(2)), (0x10d, 16 << 2));
        let handle = regs.x(1);
        let mut list = [0; GRANULE_WORDS];
        list[0] = desc(aux, 16, 3);
        self.fake().host_write(PAGE, &params);
        let lists = pa(20);
        self.fake().host_write(lists, &list);
        let regs = self.call(Fid::OP_MEM_DONATE, &[handle, lists, 1]);
        assert_eq!(regs.0[..2], [0xd, 16]);
        assert_eq!(self.go_on(handle).x(0), 0);
        rec
    }

    /// Writes a list of descriptors to [`PAGE`], from word `first` on.
    pub(crate) fn write_list(&self, first: usize, words: &[u64]) {
        let mut page = [u64::MAX; GRANULE_WORDS];
        page[first..][..words.len()].copy_from_slice(words);
        self.fake().host_write(PAGE, &page);
    }

    /// Calls OP_CONTINUE.
    pub(crate) fn go_on(&self, handle: u64) -> Regs {
        self.call(Fid::OP_CONTINUE, &[handle, 0])
    }

    /// Takes the realm apart, whatever is in it but RECs, and checks that the host gets back every
    /// granule.
    pub(crate) fn destroy_realm(&self) {
        self.fake().interrupt_after(0);
        self.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
        self.empty_table(RD, 0, 1);
        self.expect(Fid::REALM_DESTROY, [RD], Status::Success, []);
        self.undelegate_all();
    }

    /// Undelegates every granule that is in the Realm address space but the RMM's own.
    pub(crate) fn undelegate_all(&self) {
        for pa in self.fake().in_realm_space() {
            self.expect(
                Fid::GRANULE_RANGE_UNDELEGATE,
                [pa, pa + GRANULE_SIZE],
                Status::Success,
                [pa + GRANULE_SIZE],
            );
        }
        assert_eq!(self.fake().realm_granules(), 0);
    }

    /// Empties the table at `level` of a realm that starts at `base`, and destroys those below it.
    pub(crate) fn empty_table(&self, rd: u64, base: u64, level: i8) {
        let size = block_size(level);
        let end = base + 512 * size;
        for ipa in (base..end).step_by(size as usize) {
            let regs = self.call(Fid::RTT_READ_ENTRY, &[rd, ipa, level as u64]);
            assert_eq!(regs.0[..2], [0, level as u64], "{ipa:#x}");
            match regs.x(2) {
                TABLE => {
                    let below = (level + 1) as u64;
                    self.empty_table(rd, ipa, level + 1);
                    let regs = self.call(Fid::RTT_DESTROY, &[rd, ipa, below]);
                    assert_eq!(regs.x(0), 0, "{ipa:#x}");
                }
                ASSIGNED => {
                    let fid = if ipa < SHARED {
                        Fid::RTT_DATA_UNMAP
                    } else {
                        Fid::RTT_UNPROT_UNMAP
                    };
                    let top = ipa + size;
                    self.expect(fid, [rd, ipa, top, 0, 0], Status::Success, [top]);
                }
                _ => {}
            }
        }
    }
}
