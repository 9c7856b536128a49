// SPDX-License-Identifier: GPL-2.0

//! The parameters of a realm, `RmiRealmParams`: a page that the host fills, and what makes sense in
//! it.

use kvm_arm_rmi::rmi::{PhysAddr, GRANULE_SIZE};
use zerocopy::{transmute_ref, FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::features::{feature_register, Feature0};
use crate::measurement::Algorithm;
use crate::platform::{GranuleData, Platform, GRANULE_WORDS};
use crate::rd::RPV_BYTES;
use crate::rtt::{block_size, Stage2, ENTRIES, LAST_LEVEL, MIN_START_LEVEL};

/// `RmiRealmFlags0`: tables with 52-bit addresses, which IPAs of more than 48 bits need.
const FLAG_LPA2: u64 = 1 << 0;
/// `RmiRealmFlags0`: the realm has SVE.
const FLAG_SVE: u64 = 1 << 1;
/// `RmiRealmFlags0`: the realm has a PMU.
const FLAG_PMU: u64 = 1 << 2;
/// `RmiRealmFlags0`: devices can be assigned to the realm.
const FLAG_DA: u64 = 1 << 3;
/// `RmiRealmFlags0`, bits 8:7: whether the realm shares its memory encryption context.
const MEC_POLICY_SHIFT: u32 = 7;
/// Private, the higher of the two policies there are. Without memory encryption contexts, both are
/// the same.
const MEC_POLICY_PRIVATE: u64 = 1;
/// `RmiRealmFlags1`: stage 2 permissions are encoded indirectly.
const FLAG_S2AP_INDIRECT: u64 = 1 << 1;

/// Fewest bits of an IPA.
const MIN_S2SZ: u32 = 32;
/// Bits of a physical address above which stage 2 can start at level 0.
const LEVEL_0_PA_BITS: u64 = 44;
/// Most root tables.
const MAX_ROOTS: u32 = 16;

/// The page as the host has it. What it does not name is ignored. RMI 1.0 does not have everything that is
/// named, and it alone has a VMID.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct RawParams {
    flags0: u64,
    s2sz: u32,
    ignored0: u32,
    sve_vl: u32,
    ignored1: u32,
    num_bps: u32,
    ignored2: u32,
    num_wps: u32,
    ignored3: u32,
    pmu_num_ctrs: u32,
    ignored4: u32,
    hash_algo: u8,
    ignored5: [u8; 7],
    num_aux_planes: u32,
    ignored6: [u8; 0x3c4],
    rpv: [u8; RPV_BYTES],
    ats_plane: u64,
    ignored7: [u8; 0x3b8],
    vmid: u16,
    ignored10: [u8; 6],
    rtt_base: u64,
    rtt_level_start: i64,
    rtt_num_start: u32,
    ignored8: u32,
    flags1: u64,
    ignored9: [u8; 0x7d8],
}

/// What the host wants, after all checks.
pub(super) struct RealmParams {
    /// Stage 2, with the VMID that the host has chosen, if it has.
    pub(super) stage2: Stage2,
    /// How the realm is measured.
    pub(super) algorithm: Algorithm,
    /// The Realm Personalization Value.
    pub(super) rpv: [u8; RPV_BYTES],
    /// Vector length in quadwords minus 1, if the realm has SVE.
    pub(super) sve_vl: Option<u8>,
    /// PMU counters, if the realm has a PMU.
    pub(super) pmu_counters: Option<u8>,
    /// What of the page is measured, and zeroes.
    pub(super) measured: GranuleData,
}

impl RawParams {
    /// The parameters in a page.
    pub(super) fn view(data: &GranuleData) -> &Self {
        transmute_ref!(data)
    }

    /// Checks the parameters against what the machine can do, for RMI 1.0 or for 2.0. `None` if it cannot
    /// do that.
    pub(super) fn check(&self, platform: &impl Platform, v1: bool) -> Option<RealmParams> {
        let cpu = platform.cpu_id();
        let feature0 = Feature0(feature_register(&cpu, 0));
        let flag = |flag| self.flags0 & flag != 0;
        let counts = [
            (self.num_bps, feature0.breakpoints()),
            (self.num_wps, feature0.watchpoints()),
        ];

        if flag(FLAG_LPA2) && !feature0.has_lpa2()
            || !(MIN_S2SZ..=feature0.s2sz()).contains(&self.s2sz)
            || counts.iter().any(|(n, most)| !(1..=*most).contains(n))
            || flag(FLAG_SVE) && (!feature0.has_sve() || self.sve_vl > feature0.sve_vl())
            || flag(FLAG_PMU) && self.pmu_num_ctrs > feature0.pmu_counters()
            || flag(FLAG_PMU) && self.pmu_num_ctrs == 0 && !cpu.has_hpmn0()
            || !v1 && self.wants_what_v2_may_have()
        {
            return None;
        }

        Some(RealmParams {
            stage2: self.stage2(cpu.pa_bits())?,
            algorithm: Algorithm::from_raw(self.hash_algo)
                .filter(|algorithm| !v1 || *algorithm != Algorithm::Sha384)?,
            rpv: self.rpv,
            sve_vl: flag(FLAG_SVE).then_some(u8::try_from(self.sve_vl).ok()?),
            // Without a PMU there is none to be had: it takes FEAT_HPMN0 to get here with the flag.
            pmu_counters: (flag(FLAG_PMU) && cpu.pmu_counters.is_some())
                .then_some(u8::try_from(self.pmu_num_ctrs).ok()?),
            measured: self.measured(),
        })
    }

    /// True if it wants what RMI 2.0 knows and this RMM does not have.
    fn wants_what_v2_may_have(&self) -> bool {
        self.flags0 & FLAG_DA != 0
            || self.flags0 >> MEC_POLICY_SHIFT & 3 > MEC_POLICY_PRIVATE
            || self.num_aux_planes != 0
            || self.ats_plane != 0
            || self.flags1 & FLAG_S2AP_INDIRECT != 0
    }

    /// The shape of stage 2, if it is one that the CPU has.
    fn stage2(&self, pa_bits: u64) -> Option<Stage2> {
        let lpa2 = self.flags0 & FLAG_LPA2 != 0;
        let top_level = if lpa2 { MIN_START_LEVEL } else { 0 };
        let start_level = i8::try_from(self.rtt_level_start)
            .ok()
            .filter(|level| (top_level..=LAST_LEVEL).contains(level))?;
        if start_level == 0 && pa_bits < LEVEL_0_PA_BITS {
            return None;
        }
        // A root table has at least two entries in use, and there are up to 16 of them: at level 0 with
        // FEAT_LPA2 only, and never at level -1, where one has room for more than there are bits. Without
        // it, that leaves 48 bits at most.
        let size = 1u64.checked_shl(self.s2sz)?;
        let entry = block_size(start_level);
        let table = entry.checked_mul(ENTRIES as u64)?;
        let most = match start_level {
            -1 => 1,
            0 if !lpa2 => 1,
            _ => MAX_ROOTS,
        };
        if size < entry.checked_mul(2)? || size > table.checked_mul(u64::from(most))? {
            return None;
        }
        let roots = size.div_ceil(table);
        let bytes = roots.checked_mul(GRANULE_SIZE)?;
        if roots != u64::from(self.rtt_num_start) || self.rtt_base & bytes.wrapping_sub(1) != 0 {
            return None;
        }
        Some(Stage2 {
            root: PhysAddr::new(self.rtt_base),
            roots: u8::try_from(roots).ok()?,
            start_level,
            ipa_bits: u8::try_from(self.s2sz).ok()?,
            lpa2,
            vmid: self.vmid,
        })
    }

    /// The page that is measured: what describes the realm to itself, without what tells where the
    /// host keeps it.
    fn measured(&self) -> GranuleData {
        let mut data = [0; GRANULE_WORDS];
        let words = [
            self.flags0,
            u64::from(self.s2sz),
            u64::from(self.sve_vl),
            u64::from(self.num_bps),
            u64::from(self.num_wps),
            u64::from(self.pmu_num_ctrs),
            u64::from(self.hash_algo),
        ];
        for (to, from) in data.iter_mut().zip(words) {
            *to = from;
        }
        data
    }
}
