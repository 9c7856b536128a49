// SPDX-License-Identifier: GPL-2.0

//! The REC object: what the RMM knows about a virtual CPU of a realm.
//!
//! It lives in a granule of its own ([`crate::granule::Rec`]) and is reached through [`Rec::view`]
//! by whoever holds that granule's lock. While a CPU runs the REC, the object itself is a copy on
//! that CPU's stack, and the granule has a reference: all that others may then use of the granule is
//! what never changes, [`Rec::rd`], [`Rec::index`] and [`Rec::aux`].

use core::mem::{self, size_of};

use kvm_arm_rmi::rmi::PhysAddr;
use zerocopy::{transmute_mut, FromBytes, Immutable, IntoBytes, KnownLayout};

use super::context::{Context, SIMD_GRANULES};
use crate::platform::{GranuleData, GRANULE_WORDS};

/// Auxiliary granules of a REC. TF-RMM asks for as many, whatever it uses them for.
pub const AUX_GRANULES: usize = 16;

/// Number of the auxiliary granule that holds the attestation token; those for floating point are
/// the first ones.
const TOKEN_GRANULE: usize = SIMD_GRANULES;

/// A REC.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Rec {
    rd: u64,
    index: u64,
    aux: [u64; AUX_GRANULES],
    runnable: u64,
    psci_pending: u64,
    psci_target: u64,
    host_call: u64,
    serror: u64,
    /// The RIPAS change that the realm has asked for.
    pub ripas: RipasChange,
    /// The last exit to the host by a synchronous exception or an SError.
    pub last: Syndrome,
    /// Whether the outputs of the virtual and the physical timer were asserted at the last exit to
    /// the host, which was told of them.
    pub timers_told: [u64; 2],
    /// How far the attestation token is.
    pub token: Token,
    /// The registers.
    pub context: Context,
}

/// A change of RIPAS that the realm has asked for, and how far the host has carried it out.
#[derive(Clone, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RipasChange {
    /// First IPA of the range. No change is pending if this is [`Self::top`].
    pub base: u64,
    /// First IPA after the range.
    pub top: u64,
    /// First IPA that has not been changed.
    pub next: u64,
    /// The RIPAS that it is to have: `RsiRipas`, 0 for EMPTY and 1 for RAM.
    pub value: u64,
    /// 1 if a granule whose RIPAS is DESTROYED may be changed as well: `RsiRipasChangeFlags`.
    pub destroyed: u64,
}

/// What the CPU said about an exit, before anything was taken out for the host.
#[derive(Clone, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Syndrome {
    /// ESR_EL2. 0 if there is nothing that the host may complete at the next entry.
    pub esr: u64,
    /// FAR_EL2.
    pub far: u64,
    /// HPFAR_EL2.
    pub hpfar: u64,
}

/// The attestation token that the realm is fetching, which is in [`Rec::token_granule`].
#[derive(Clone, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Token {
    /// Bytes of the claims; 0 if the realm has not asked for a token.
    pub claims: u64,
    /// Bytes of the token; 0 until the claims are signed.
    pub len: u64,
    /// Bytes of it that the realm has fetched.
    pub copied: u64,
}

/// Words of a granule that a [`Rec`] leaves unused.
const UNUSED: usize = GRANULE_WORDS - size_of::<Rec>() / 8;

/// A granule with a REC in it.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct InGranule {
    rec: Rec,
    unused: [u64; UNUSED],
}

impl Rec {
    /// REC number `index` of the realm with descriptor `rd`, with these auxiliary granules and
    /// registers.
    pub fn new(rd: PhysAddr, index: u64, aux: [PhysAddr; AUX_GRANULES], context: Context) -> Self {
        Self {
            rd: rd.raw(),
            index,
            aux: aux.map(PhysAddr::raw),
            runnable: 0,
            psci_pending: 0,
            psci_target: 0,
            host_call: 0,
            serror: 0,
            ripas: RipasChange::default(),
            last: Syndrome::default(),
            timers_told: [0; 2],
            token: Token::default(),
            context,
        }
    }

    /// The REC in a granule.
    pub fn view(data: &mut GranuleData) -> &mut Self {
        let granule: &mut InGranule = transmute_mut!(data);
        &mut granule.rec
    }

    /// The realm it belongs to.
    pub fn rd(&self) -> PhysAddr {
        PhysAddr::new(self.rd)
    }

    /// Its number in the realm: what its MPIDR counts. In one dialect that is the order of creation.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The granules that were donated to it.
    pub fn aux(&self) -> [PhysAddr; AUX_GRANULES] {
        self.aux.map(PhysAddr::new)
    }

    /// The granule for the attestation token, one of [`Self::aux`].
    pub fn token_granule(&self) -> PhysAddr {
        const { assert!(TOKEN_GRANULE < AUX_GRANULES) };
        let granule = self.aux.get(TOKEN_GRANULE).copied().unwrap_or(0);
        PhysAddr::new(granule)
    }

    /// True if the CPU is on: REC_ENTER runs it.
    pub fn is_runnable(&self) -> bool {
        self.runnable != 0
    }

    /// Turns the CPU on or off.
    pub fn set_runnable(&mut self, runnable: bool) {
        self.runnable = u64::from(runnable);
    }

    /// True if the realm waits for the host to complete a PSCI call.
    pub fn is_psci_pending(&self) -> bool {
        self.psci_pending != 0
    }

    /// Says whether the realm waits for the host to complete a PSCI call.
    pub fn set_psci_pending(&mut self, pending: bool) {
        self.psci_pending = u64::from(pending);
    }

    /// The REC that the last PSCI call was about which exited, if the RMM has to know:
    /// [`Dialect::Bet2`](crate::rmi::Dialect::Bet2).
    pub fn psci_target(&self) -> PhysAddr {
        PhysAddr::new(self.psci_target)
    }

    /// Says which REC a PSCI call is about.
    pub fn set_psci_target(&mut self, target: PhysAddr) {
        self.psci_target = target.raw();
    }

    /// True if the results of a host call are to be taken over at the next entry.
    pub fn is_host_call_pending(&self) -> bool {
        self.host_call != 0
    }

    /// Says whether the results of a host call are to be taken over at the next entry.
    pub fn set_host_call_pending(&mut self, pending: bool) {
        self.host_call = u64::from(pending);
    }

    /// Makes an SError with this syndrome pending in the realm when it runs next.
    pub fn raise_serror(&mut self, esr: u64) {
        self.context.el2.vsesr_el2 = esr;
        self.serror = 1;
    }

    /// True, once, after [`Self::raise_serror`].
    pub fn take_serror(&mut self) -> bool {
        mem::take(&mut self.serror) != 0
    }
}
