// SPDX-License-Identifier: GPL-2.0

//! Syndromes: ESR_EL2 after an exception from a realm.

/// EC of a trapped WFI or WFE.
pub const WFX: u64 = 0x01;
/// EC of an HVC.
pub const HVC: u64 = 0x16;
/// EC of an SMC.
pub const SMC: u64 = 0x17;
/// EC of a trapped system register.
pub const SYSREG: u64 = 0x18;
/// EC of SVE that is disabled.
pub const SVE: u64 = 0x19;
/// EC of SME that is disabled.
pub const SME: u64 = 0x1d;
/// EC of floating point that is disabled.
pub const FP: u64 = 0x07;
/// EC of an instruction abort from a lower exception level.
pub const INSTRUCTION_ABORT: u64 = 0x20;
/// EC of a data abort from a lower exception level.
pub const DATA_ABORT: u64 = 0x24;

const EC_SHIFT: u32 = 26;
const EC: u64 = 0x3f << EC_SHIFT;
/// IL: the instruction has 32 bits.
const IL: u64 = 1 << 25;
const ISV: u64 = 1 << 24;
const SAS_SHIFT: u32 = 22;
const SAS: u64 = 3 << SAS_SHIFT;
const SSE: u64 = 1 << 21;
const SRT_SHIFT: u32 = 16;
const SF: u64 = 1 << 15;
const SET_SHIFT: u32 = 11;
const SET: u64 = 3 << SET_SHIFT;
const FNV: u64 = 1 << 10;
const EA: u64 = 1 << 9;
const S1PTW: u64 = 1 << 7;
const WNR: u64 = 1 << 6;
const FSC: u64 = 0x3f;

/// FSC of a translation fault at level 0.
const FSC_TRANSLATION: u64 = 0x04;
/// FSC of a translation fault at level -1.
const FSC_TRANSLATION_ABOVE: u64 = 0x2b;
/// FSC of a synchronous external abort.
const FSC_EXTERNAL: u64 = 0x10;

/// Fields of an abort that the host may always see.
const PUBLIC: u64 = EC | SET | FNV | EA | FSC;
/// Fields of an abort that the host needs in order to emulate the access.
const EMULATION: u64 = PUBLIC | ISV | SAS | SF | WNR;

/// WFX: TI says which instruction it was.
const TI: u64 = 1;

/// A syndrome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Esr(u64);

/// How bad an external abort is, `ESR_EL2.SET`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The realm can recover if it is told.
    Recoverable,
    /// Nothing is lost: the instruction can be run again.
    Restartable,
    /// Nothing can be relied on any more.
    Uncontainable,
}

impl Esr {
    /// The syndrome that is `raw` in ESR_EL2.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// A data abort on a translation that ends at `level`.
    pub fn translation_fault(level: i8) -> Self {
        let fsc = match u64::try_from(level) {
            Ok(level) => FSC_TRANSLATION.saturating_add(level),
            Err(_) => FSC_TRANSLATION_ABOVE,
        };
        Self(DATA_ABORT << EC_SHIFT | fsc)
    }

    /// An exception that the architecture does not explain: an undefined instruction.
    pub const fn undefined() -> Self {
        Self(IL)
    }

    /// The value of ESR_EL2.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The exception class.
    pub const fn class(self) -> u64 {
        (self.0 & EC) >> EC_SHIFT
    }

    /// True if the abort comes with a description of the access.
    pub const fn is_described(self) -> bool {
        self.0 & ISV != 0
    }

    /// The same without the description of the access.
    pub const fn undescribed(self) -> Self {
        Self(self.0 & !ISV)
    }

    /// True if the access was a write.
    pub const fn is_write(self) -> bool {
        self.0 & WNR != 0
    }

    /// The register of the access, 31 for XZR.
    pub const fn register(self) -> u64 {
        self.0 >> SRT_SHIFT & 31
    }

    /// The bits of the register that the access is about.
    pub const fn access_mask(self) -> u64 {
        match (self.0 & SAS) >> SAS_SHIFT {
            0 => 0xff,
            1 => 0xffff,
            2 => 0xffff_ffff,
            _ => u64::MAX,
        }
    }

    /// What a load of `value` leaves in its register: the bits of the access, extended as the
    /// instruction says.
    pub const fn loaded(self, value: u64) -> u64 {
        let value = value & self.access_mask();
        if self.0 & SSE == 0 {
            return value;
        }
        let sign = self.access_mask() ^ (self.access_mask() >> 1);
        let extended = (value ^ sign).wrapping_sub(sign);
        if self.0 & SF == 0 {
            extended & 0xffff_ffff
        } else {
            extended
        }
    }

    /// How bad it is, if this is an external abort.
    pub const fn external_abort(self) -> Option<Severity> {
        match self.0 & FSC {
            // On the access, or on a walk for it.
            FSC_EXTERNAL | 0x13..=0x17 => {}
            _ => return None,
        }
        Some(match (self.0 & SET) >> SET_SHIFT {
            0 => Severity::Recoverable,
            3 => Severity::Restartable,
            _ => Severity::Uncontainable,
        })
    }

    /// True if the abort is a permission fault.
    pub const fn is_permission_fault(self) -> bool {
        matches!(self.0 & FSC, 0x0c..=0x0f)
    }

    /// What the host may see of an abort that it cannot emulate.
    pub const fn public(self) -> u64 {
        self.0 & PUBLIC
    }

    /// The same, with the length of the instruction.
    pub const fn public_with_length(self) -> u64 {
        self.0 & (PUBLIC | IL)
    }

    /// What the host may see of an abort that it emulates.
    pub const fn emulation(self) -> u64 {
        self.0 & EMULATION
    }

    /// What the host may see of a WFI or WFE.
    pub const fn wfx(self) -> u64 {
        self.0 & (EC | TI)
    }

    /// ESR_EL1 for an external abort in place of this abort, in a realm that was at EL0 or at EL1.
    pub const fn as_external_abort(self, from_el0: bool) -> Self {
        let class = if from_el0 {
            self.class()
        } else {
            // The class for "without a change of exception level".
            self.class() | 1
        };
        let kept = self.0 & !(EC | FSC | FNV | S1PTW);
        Self(kept | class << EC_SHIFT | FSC_EXTERNAL | EA)
    }
}

/// The syndrome of an SError, as far as the RMM acts on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SError {
    /// The realm has to be told.
    Tell,
    /// Nothing is lost for the realm.
    Harmless,
    /// Nothing can be relied on any more, or nobody knows.
    Uncontainable,
}

impl SError {
    /// What the host may see: EC, IDS, AET, EA and DFSC.
    const PUBLIC: u64 = EC | 1 << 24 | 7 << 10 | EA | FSC;

    /// Judges the syndrome of an SError.
    pub const fn judge(esr: u64) -> Self {
        let implementation_defined = esr & 1 << 24 != 0;
        if implementation_defined || esr & FSC != 0x11 {
            return Self::Uncontainable;
        }
        match esr >> 10 & 7 {
            1 | 3 => Self::Tell,
            2 | 6 => Self::Harmless,
            _ => Self::Uncontainable,
        }
    }

    /// What the host may see of the syndrome of an SError.
    pub const fn public(esr: u64) -> u64 {
        esr & Self::PUBLIC
    }
}
