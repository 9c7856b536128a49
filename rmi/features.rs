// SPDX-License-Identifier: GPL-2.0

//! What the RMM can do: the five feature registers, `RmiFeatureRegister0` to `4`.

use core::fmt;

/// Number of feature registers that the specification defines.
const FEATURE_REGS: usize = 5;

/// The five registers as read, before anybody has looked at them.
pub type FeatureRegs = [u64; FEATURE_REGS];

/// The RMM's features. Every value is what the RMM says: the host has to apply its own limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features {
    regs: FeatureRegs,
    list_registers: u32,
}

impl Features {
    /// Takes the registers, number 0 first.
    pub const fn new(regs: FeatureRegs) -> Self {
        Self {
            regs,
            list_registers: 0,
        }
    }

    /// Takes the one register of RMI 1.0, which has in its upper half what is in register 1 since.
    pub(super) const fn from_v1(reg0: u64) -> Self {
        let granule_4k = 1;
        let hashes = (reg0 >> 32 & 1) << 3 | (reg0 >> 33 & 1) << 5;
        let max_recs_order = (reg0 >> 38 & 0xf) << 6;
        Self {
            regs: [
                reg0 & 0xffff_ffff,
                granule_4k | hashes | max_recs_order,
                0,
                0,
                0,
            ],
            // CAST: 4 bits.
            list_registers: ((reg0 >> 34 & 0xf) as u32).saturating_add(1),
        }
    }

    /// Field `high:low` of register `n`.
    fn get(&self, n: usize, high: u32, low: u32) -> u64 {
        let value = self.regs.get(n).copied().unwrap_or(0);
        let above = 63u32.saturating_sub(high);
        (value << above) >> above >> low
    }

    /// The registers as read.
    pub const fn regs(&self) -> &FeatureRegs {
        &self.regs
    }

    /// Widest IPA space of a realm, in bits, if nothing else is in the way: see [`Self::ipa_bits`].
    pub fn s2sz(&self) -> u64 {
        self.get(0, 7, 0)
    }

    /// 52-bit addresses with 4 KiB and 16 KiB granules.
    pub fn lpa2(&self) -> bool {
        self.get(0, 8, 8) != 0
    }

    /// Widest IPA space that a realm can have, in bits. What is wider than 48 takes LPA2 where granules
    /// are small; an RMM may have the one without the other, on a CPU whose stage 1 alone has LPA2.
    pub fn ipa_bits(&self) -> u64 {
        match self.lpa2() || !needs_lpa2(WITHOUT_LPA2.saturating_add(1)) {
            true => self.s2sz(),
            false => self.s2sz().min(WITHOUT_LPA2.into()),
        }
    }

    /// Realms may use SVE.
    pub fn sve(&self) -> bool {
        self.get(0, 9, 9) != 0
    }

    /// Longest SVE vector, in quadwords. Meaningful with [`Self::sve`].
    pub fn sve_vq(&self) -> u64 {
        self.get(0, 13, 10).saturating_add(1)
    }

    /// Breakpoints that a realm may have, at least 1.
    pub fn breakpoints(&self) -> u64 {
        self.get(0, 19, 14).saturating_add(1)
    }

    /// Watchpoints that a realm may have, at least 1.
    pub fn watchpoints(&self) -> u64 {
        self.get(0, 25, 20).saturating_add(1)
    }

    /// Realms may use a PMU. One without event counters would take FEAT_HPMN0, which nobody tells of.
    pub fn pmu(&self) -> bool {
        self.get(0, 26, 26) != 0 && self.pmu_counters() != 0
    }

    /// Event counters that the PMU of a realm may have. Meaningful with [`Self::pmu`].
    pub fn pmu_counters(&self) -> u64 {
        self.get(0, 31, 27)
    }

    /// The RMM can work with granules of `1 << shift` bytes.
    pub fn granule(&self, shift: u32) -> bool {
        match shift {
            12 => self.get(1, 0, 0) != 0,
            14 => self.get(1, 1, 1) != 0,
            16 => self.get(1, 2, 2) != 0,
            _ => false,
        }
    }

    /// Realms can be measured with SHA-256.
    pub fn sha256(&self) -> bool {
        self.get(1, 3, 3) != 0
    }

    /// Realms can be measured with SHA-384.
    pub fn sha384(&self) -> bool {
        self.get(1, 4, 4) != 0
    }

    /// Realms can be measured with SHA-512.
    pub fn sha512(&self) -> bool {
        self.get(1, 5, 5) != 0
    }

    /// List registers of a REC's vGIC where the RMM switches it, as in RMI 1.0; or 0 where the host does.
    pub const fn list_registers(&self) -> u32 {
        self.list_registers
    }

    /// log2 of the number of RECs that a realm may have.
    pub fn max_recs_order(&self) -> u64 {
        self.get(1, 9, 6)
    }
}

/// Bits of an IPA or of a PA in tables without LPA2, where granules are small.
const WITHOUT_LPA2: u32 = 48;

/// True if an IPA space of `bits` takes LPA2. 64 KiB granules have 52 bits without.
pub const fn needs_lpa2(bits: u32) -> bool {
    bits > WITHOUT_LPA2 && crate::GRANULE_SHIFT < 16
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IPA {} bits", self.ipa_bits())?;
        if self.lpa2() {
            write!(f, ", LPA2")?;
        }
        if self.sve() {
            write!(f, ", SVE {} bits", self.sve_vq().saturating_mul(128))?;
        }
        write!(f, ", {} breakpoints", self.breakpoints())?;
        write!(f, ", {} watchpoints", self.watchpoints())?;
        if self.pmu() {
            write!(f, ", PMU with {} counters", self.pmu_counters())?;
        }
        let hashes = [
            (self.sha256(), "SHA-256"),
            (self.sha384(), "SHA-384"),
            (self.sha512(), "SHA-512"),
        ];
        for (_, name) in hashes.iter().filter(|(there, _)| *there) {
            write!(f, ", {name}")?;
        }
        write!(f, ", up to {} RECs", 1u64 << self.max_recs_order())
    }
}
