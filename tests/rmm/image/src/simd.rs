// SPDX-License-Identifier: GPL-2.0

//! Floating point and SVE. The RMM's own code uses neither.
//!
//! The registers are the host's until a realm touches them, which traps. Then they are lent to the
//! realm, and stay with it until the REC is left.

use core::arch::global_asm;

use kvm_arm_rmi::rmi::PhysAddr;
use rmm::rec::context::Simd;

use crate::arch::{self, mrs, msr};
use crate::cpu::{Features, CPTR_FPEN, CPTR_RMM, CPTR_SMEN, CPTR_ZEN};
use crate::memory;

global_asm!(include_str!("simd.S"));

extern "C" {
    /// Stores Q0 to Q31 at `q`.
    fn fp_save(q: *mut u8);
    /// Loads Q0 to Q31 from `q`.
    fn fp_load(q: *const u8);
    /// The length of a vector in bytes.
    fn sve_length() -> u64;
    /// Stores Z0 to Z15, Z16 to Z31, and the predicates, with FFR if `ffr` is not 0.
    fn sve_save(low: *mut u8, high: *mut u8, predicates: *mut u8, ffr: u64);
    /// Loads what [`sve_save`] stored.
    fn sve_load(low: *const u8, high: *const u8, predicates: *const u8, ffr: u64);
}

/// ZCR_EL2: as long vectors as there are.
const ZCR_LONGEST: u64 = 15;

/// SVCR: streaming mode.
const SVCR_SM: u64 = 1;
/// ID_AA64SMFR0_EL1: FFR exists in streaming mode as well (FEAT_SME_FA64).
const SMFR0_FA64: u64 = 1 << 63;

/// Sixteen of the vector registers, at their longest.
#[repr(C, align(16))]
struct Half([u8; 16 * 256]);

/// What goes with the vector registers.
#[repr(C, align(16))]
struct Rest {
    predicates: [u8; 17 * 32],
    fpsr: u64,
    fpcr: u64,
    zcr_el1: u64,
}

// Each part of an area is a granule, where a REC has it.
const _: () = assert!(size_of::<Half>() == 4096 && size_of::<Rest>() <= 4096);

/// Where registers are stored, as three parts.
struct Area {
    low: *mut Half,
    high: *mut Half,
    rest: *mut Rest,
}

impl Area {
    /// The area in the granules of a REC.
    fn of_realm(simd: &Simd) -> Self {
        let [low, high, rest] = simd
            .granules
            .map(|pa| memory::realm_granule(PhysAddr::new(pa)));
        Self {
            low: low.cast(),
            high: high.cast(),
            rest: rest.cast(),
        }
    }

    /// Saves the registers, those of SVE as well if `sve`, with FFR if `ffr`.
    ///
    /// # Safety
    ///
    /// The parts are memory that nothing else uses, and nothing of what is saved traps.
    unsafe fn save(&self, sve: bool, ffr: bool) {
        // SAFETY: the caller has seen to it.
        let rest = unsafe {
            let rest = &mut *self.rest;
            if sve {
                let predicates = rest.predicates.as_mut_ptr();
                sve_save(self.low.cast(), self.high.cast(), predicates, ffr.into());
            } else {
                fp_save(self.low.cast());
            }
            rest
        };
        rest.fpsr = mrs!("s3_3_c4_c4_1");
        rest.fpcr = mrs!("s3_3_c4_c4_0");
        if sve {
            rest.zcr_el1 = mrs!("s3_5_c1_c2_0");
        }
    }

    /// Loads what [`Self::save`] saved with the same arguments.
    ///
    /// # Safety
    ///
    /// As for [`Self::save`].
    unsafe fn load(&self, sve: bool, ffr: bool) {
        // SAFETY: the caller has seen to it.
        let rest = unsafe {
            let rest = &*self.rest;
            if sve {
                let predicates = rest.predicates.as_ptr();
                sve_load(self.low.cast(), self.high.cast(), predicates, ffr.into());
            } else {
                fp_load(self.low.cast());
            }
            rest
        };
        msr!("s3_3_c4_c4_1", rest.fpsr);
        msr!("s3_3_c4_c4_0", rest.fpcr);
        if sve {
            msr!("s3_5_c1_c2_0", rest.zcr_el1);
        }
    }
}

/// The host's registers of one CPU, while they are lent to a realm.
pub(crate) struct Host {
    low: Half,
    high: Half,
    rest: Rest,
    zcr_el2: u64,
    svcr: u64,
    lent: bool,
}

impl Host {
    /// A CPU the registers of which are not lent.
    pub(crate) const NEW: Self = Self {
        low: Half([0; 16 * 256]),
        high: Half([0; 16 * 256]),
        rest: Rest {
            predicates: [0; 17 * 32],
            fpsr: 0,
            fpcr: 0,
            zcr_el1: 0,
        },
        zcr_el2: 0,
        svcr: 0,
        lent: false,
    };

    /// True if the host is in streaming mode. The realm must not be entered in it: its own
    /// instructions would not be what it thinks they are.
    pub(crate) fn is_streaming(&self, cpu: &Features) -> bool {
        if !cpu.sme || self.lent {
            return false;
        }
        open(cpu);
        let svcr = mrs!("s3_3_c4_c2_2");
        close();
        svcr & SVCR_SM != 0
    }

    /// True if the registers are lent to a realm.
    pub(crate) fn is_lent(&self) -> bool {
        self.lent
    }

    /// The bits of CPTR_EL2 that a realm may have as things are.
    pub(crate) fn cptr(&self, simd: &Simd) -> u64 {
        match (self.lent, simd.sve != 0) {
            (false, _) => CPTR_RMM,
            (true, false) => CPTR_RMM | CPTR_FPEN,
            (true, true) => CPTR_RMM | CPTR_FPEN | CPTR_ZEN,
        }
    }

    /// Saves the host's registers and loads those of the realm.
    pub(crate) fn lend(&mut self, cpu: &Features, simd: &Simd) {
        if self.lent {
            return;
        }
        self.lent = true;
        open(cpu);
        self.save(cpu);
        let realm = Area::of_realm(simd);
        let sve = simd.sve != 0;
        if sve {
            set_length(simd.sve_len);
        }
        // SAFETY: the granules are the REC's, which this CPU runs; `open` has opened.
        unsafe { realm.load(sve, true) };
        close();
    }

    /// Saves the realm's registers and loads those of the host, if they are lent.
    pub(crate) fn take_back(&mut self, cpu: &Features, simd: &Simd) {
        if !self.lent {
            return;
        }
        self.lent = false;
        open(cpu);
        let realm = Area::of_realm(simd);
        let sve = simd.sve != 0;
        // SAFETY: the granules are the REC's, which this CPU runs; `open` has opened.
        unsafe { realm.save(sve, true) };
        self.load(cpu);
        close();
    }

    fn area(&mut self) -> Area {
        Area {
            low: &raw mut self.low,
            high: &raw mut self.high,
            rest: &raw mut self.rest,
        }
    }

    fn save(&mut self, cpu: &Features) {
        self.svcr = if cpu.sme { mrs!("s3_3_c4_c2_2") } else { 0 };
        if cpu.sve {
            self.zcr_el2 = mrs!("s3_4_c1_c2_0");
            set_length(ZCR_LONGEST);
        }
        let streaming = self.svcr & SVCR_SM != 0;
        // SAFETY: the area is this object's; `open` has opened.
        unsafe { self.area().save(cpu.sve || streaming, has_ffr(streaming)) };
        if streaming {
            // The matrix (ZA) stays as it is: it traps.
            msr!("s3_3_c4_c2_2", self.svcr & !SVCR_SM);
            arch::isb();
        }
    }

    fn load(&mut self, cpu: &Features) {
        let streaming = self.svcr & SVCR_SM != 0;
        if streaming {
            msr!("s3_3_c4_c2_2", self.svcr);
            arch::isb();
        }
        if cpu.sve {
            set_length(ZCR_LONGEST);
        }
        // SAFETY: the area is this object's, and was saved; `open` has opened.
        unsafe { self.area().load(cpu.sve || streaming, has_ffr(streaming)) };
        if cpu.sve {
            msr!("s3_4_c1_c2_0", self.zcr_el2);
        }
    }
}

/// The longest vector of this CPU in quadwords, minus 1, or `None` without SVE.
pub(crate) fn longest_vector(cpu: &Features) -> Option<u8> {
    if !cpu.sve {
        return None;
    }
    open(cpu);
    let host = mrs!("s3_4_c1_c2_0");
    set_length(ZCR_LONGEST);
    // SAFETY: there is SVE, and `open` has opened it.
    let bytes = unsafe { sve_length() };
    set_length(host);
    close();
    u8::try_from(bytes / 16 - 1).ok()
}

/// True if FFR exists in or out of streaming mode.
fn has_ffr(streaming: bool) -> bool {
    // ID_AA64SMFR0_EL1.
    !streaming || mrs!("s3_0_c0_c4_5") & SMFR0_FA64 != 0
}

/// Sets the length of vectors, in quadwords minus 1.
fn set_length(len: u64) {
    msr!("s3_4_c1_c2_0", len);
    arch::isb();
}

/// Lets EL2 use what the CPU has of floating point, SVE and SME.
fn open(cpu: &Features) {
    let sve = if cpu.sve { CPTR_ZEN } else { 0 };
    let sme = if cpu.sme { CPTR_SMEN } else { 0 };
    msr!("cptr_el2", CPTR_RMM | CPTR_FPEN | sve | sme);
    arch::isb();
}

/// Makes them trap again.
fn close() {
    msr!("cptr_el2", CPTR_RMM);
    arch::isb();
}
