// SPDX-License-Identifier: GPL-2.0

//! The structures in memory: `RmiRealmParams`, `RmiRecParams` and `RmiRecRun`, by offset.

use crate::memory;

/// A field that differs from a good structure: a note for the reader, an offset and a value.
pub(crate) type Change = (&'static str, u64, u64);

/// Offsets in `RmiRealmParams`.
pub(crate) mod realm {
    /// Flags: bit 0 LPA2, 1 SVE, 2 PMU, 3 device assignment, 8:7 memory encryption policy.
    pub(crate) const FLAGS0: u64 = 0x000;
    /// IPA width.
    pub(crate) const S2SZ: u64 = 0x008;
    /// SVE vector length.
    pub(crate) const SVE_VL: u64 = 0x010;
    /// Breakpoints, less one.
    pub(crate) const NUM_BPS: u64 = 0x018;
    /// Watchpoints, less one.
    pub(crate) const NUM_WPS: u64 = 0x020;
    /// PMU counters.
    pub(crate) const PMU_CTRS: u64 = 0x028;
    /// Hash algorithm: 0 SHA-256, 1 SHA-512, 2 SHA-384.
    pub(crate) const HASH: u64 = 0x030;
    /// Auxiliary planes.
    pub(crate) const PLANES: u64 = 0x038;
    /// Personalisation value, 64 bytes.
    pub(crate) const RPV: u64 = 0x400;
    /// The plane whose translation devices use.
    pub(crate) const ATS_PLANE: u64 = 0x440;
    /// First root RTT.
    pub(crate) const RTT_BASE: u64 = 0x808;
    /// Level of the root RTTs.
    pub(crate) const RTT_LEVEL: u64 = 0x810;
    /// Number of root RTTs.
    pub(crate) const RTT_NUM: u64 = 0x818;
    /// More flags: bit 0 an RTT tree for each plane, 1 indirect permissions.
    pub(crate) const FLAGS1: u64 = 0x820;
}

/// Offsets in `RmiRecParams`.
pub(crate) mod rec {
    /// Flags: bit 0 runnable.
    pub(crate) const FLAGS: u64 = 0x000;
    /// Affinity.
    pub(crate) const MPIDR: u64 = 0x100;
    /// Program counter.
    pub(crate) const PC: u64 = 0x200;
    /// X0 to X7.
    pub(crate) const GPRS: u64 = 0x300;
}

/// Offsets in `RmiRecRun`.
pub(crate) mod run {
    /// Flags of the entry.
    pub(crate) const FLAGS: u64 = 0x000;
    /// X0 to X30 for the entry.
    pub(crate) const ENTER_GPRS: u64 = 0x200;
    /// Why the REC exited.
    pub(crate) const REASON: u64 = 0x800;
    /// ESR_EL2.
    pub(crate) const ESR: u64 = 0x900;
    /// FAR_EL2.
    pub(crate) const FAR: u64 = 0x908;
    /// HPFAR_EL2.
    pub(crate) const HPFAR: u64 = 0x910;
    /// X0 to X30 at the exit.
    pub(crate) const EXIT_GPRS: u64 = 0xa00;
    /// CNTV_CTL_EL0 at the exit.
    pub(crate) const CNTV_CTL: u64 = 0xc10;
    /// Start of a RIPAS change.
    pub(crate) const RIPAS_BASE: u64 = 0xd00;
    /// End of a RIPAS change.
    pub(crate) const RIPAS_TOP: u64 = 0xd08;
    /// The RIPAS that the realm wants.
    pub(crate) const RIPAS_VALUE: u64 = 0xd10;
    /// Immediate of a host call.
    pub(crate) const IMM: u64 = 0xe00;

    /// Flag: the host has emulated the access.
    pub(crate) const EMULATED: u64 = 1 << 0;
    /// Flag: the realm gets an external abort.
    pub(crate) const INJECT_SEA: u64 = 1 << 1;
    /// Flag: WFI exits.
    pub(crate) const TRAP_WFI: u64 = 1 << 2;
    /// Flag: the host rejects the RIPAS change.
    pub(crate) const REJECT_RIPAS: u64 = 1 << 4;
}

/// The shape of a realm's translation tables, and how it is measured.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// IPA width.
    pub(crate) s2sz: u64,
    /// Level of the root RTTs.
    pub(crate) level: i64,
    /// Number of root RTTs.
    pub(crate) roots: u64,
    /// Hash algorithm.
    pub(crate) hash: u64,
}

impl Shape {
    /// The realm of most scenarios: one root RTT of level 1.
    pub(crate) const USUAL: Self = Self {
        s2sz: 39,
        level: 1,
        roots: 1,
        hash: 0,
    };

    /// First IPA of the unprotected half.
    pub(crate) const fn unprotected(self) -> u64 {
        1 << (self.s2sz - 1)
    }
}

/// Fills a page with parameters of a realm whose root RTTs are at `root`.
pub(crate) fn write_realm(page: u64, shape: Shape, root: u64) {
    memory::fill(page, 0);
    let fields = [
        (realm::S2SZ, shape.s2sz),
        (realm::NUM_BPS, 1),
        (realm::NUM_WPS, 1),
        (realm::HASH, shape.hash),
        (realm::RTT_BASE, root),
        (realm::RTT_LEVEL, shape.level as u64),
        (realm::RTT_NUM, shape.roots),
    ];
    for (offset, value) in fields {
        memory::write(page + offset, value);
    }
}

/// Fills a page with parameters of REC number `index`, which starts the payload with `x0`.
pub(crate) fn write_rec(page: u64, index: u64, runnable: bool, x0: u64) {
    memory::fill(page, 0);
    let mpidr = index & 0xf | (index >> 4) << 8;
    let fields = [
        (rec::FLAGS, u64::from(runnable)),
        (rec::MPIDR, mpidr),
        (rec::PC, realm_payload::BASE),
        (rec::GPRS, x0),
    ];
    for (offset, value) in fields {
        memory::write(page + offset, value);
    }
}
