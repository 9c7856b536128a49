// SPDX-License-Identifier: GPL-2.0

//! RSI_REALM_CONFIG.

use kvm_arm_rmi::rmi::GRANULE_SIZE;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Answer, ERROR_INPUT, SUCCESS};
use crate::measurement::Algorithm;
use crate::platform::{GranuleData, Platform};
use crate::rd::RPV_BYTES;
use crate::rec::Running;

/// `RsiRealmConfig`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Config {
    ipa_bits: u64,
    algorithm: u8,
    unused_009: [u8; 7],
    aux_planes: u64,
    gic_vtr: u32,
    unused_01c: u32,
    ats_plane: u64,
    unused_028: [u64; 0x1d8 / 8],
    rpv: [u8; RPV_BYTES],
    unused_240: [u64; 0xdc0 / 8],
}

impl<P: Platform> Running<'_, '_, P> {
    /// RSI_REALM_CONFIG. x1: protected IPA of a granule.
    ///
    /// Describes the realm there. RSI 1.0 leaves what it does not know as it is. ERROR_INPUT: the IPA is not granule aligned, not protected, or
    /// EMPTY.
    pub(super) fn realm_config(&mut self) -> Answer {
        let ipa = self.gpr(1);
        let stage2 = self.realm.stage2;
        if ipa & GRANULE_SIZE.wrapping_sub(1) != 0 || !stage2.is_protected(ipa) {
            return Answer::code(ERROR_INPUT);
        }
        // Before the table of the page is held: descriptors come first.
        let (algorithm, rpv) = self.with_rd(|rd| (rd.algorithm(), rd.rpv));
        let rsi_1_0 = self.rmm.is_v1();
        let [v0, v1, v2, v3, ..] = self.rmm.platform().gic_vtr().to_le_bytes();

        let done = self.memory(ipa, |data: &mut GranuleData| {
            let config: &mut Config = zerocopy::transmute_mut!(data);
            config.ipa_bits = u64::from(stage2.ipa_bits);
            // `RsiHashAlgorithm` has a number for SHA-384, which TF-RMM does not use.
            config.algorithm = u8::from(algorithm != Algorithm::Sha256);
            config.rpv = rpv;
            if !rsi_1_0 {
                config.aux_planes = 0;
                config.gic_vtr = u32::from_le_bytes([v0, v1, v2, v3]);
                config.ats_plane = 0;
            }
        });
        match done {
            Ok(()) => Answer::code(SUCCESS),
            Err(miss) => miss.into(),
        }
    }
}
