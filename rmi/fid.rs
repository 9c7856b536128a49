// SPDX-License-Identifier: GPL-2.0

//! Function numbers of the RMI commands.

use core::fmt;

/// An RMI function identifier: SMCCC fast call, 64 bit, owner "standard secure service".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fid(u32);

/// The lowest and the highest function that [`Fid::ALL`] may have.
const FIRST: u32 = 0xc400_0150;
const LAST: u32 = 0xc400_020f;

/// The place of every function in [`Fid::ALL`], counted from 1, by its distance from the lowest. It
/// is looked up on the way of every call.
static PLACES: [u8; (LAST - FIRST + 1) as usize] = places();

#[expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "what is wrong here fails to compile"
)]
const fn places() -> [u8; (LAST - FIRST + 1) as usize] {
    let mut places = [0; (LAST - FIRST + 1) as usize];
    let mut n = 0;
    while n < Fid::ALL.len() {
        places[(Fid::ALL[n].0 - FIRST) as usize] = n as u8 + 1;
        n += 1;
    }
    places
}

/// Declares every command once: its constant, its place in [`Fid::ALL`] and its printed name.
macro_rules! fids {
    ($($name:ident = $number:literal),* $(,)?) => {
        impl Fid {
            $(
                #[doc = concat!("RMI_", stringify!($name), ".")]
                pub const $name: Fid = Fid(0xc400_0000 | $number);
            )*

            /// Every command this project knows, in the order of their function numbers.
            pub const ALL: &'static [Fid] = &[$(Fid::$name),*];

            /// The command's name in the specification, without the `RMI_`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Fid::$name => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

fids! {
    VERSION = 0x150,
    GRANULE_DELEGATE = 0x151,
    GRANULE_UNDELEGATE = 0x152,
    RTT_DATA_MAP_INIT = 0x153,
    DATA_CREATE_UNKNOWN = 0x154,
    DATA_DESTROY = 0x155,
    REALM_ACTIVATE = 0x157,
    REALM_CREATE = 0x158,
    REALM_DESTROY = 0x159,
    REC_CREATE = 0x15a,
    REC_DESTROY = 0x15b,
    REC_ENTER = 0x15c,
    RTT_CREATE = 0x15d,
    RTT_DESTROY = 0x15e,
    RTT_MAP_UNPROTECTED = 0x15f,
    RTT_READ_ENTRY = 0x161,
    RTT_UNMAP_UNPROTECTED = 0x162,
    PSCI_COMPLETE = 0x164,
    FEATURES = 0x165,
    RTT_FOLD = 0x166,
    REC_AUX_COUNT = 0x167,
    RTT_INIT_RIPAS = 0x168,
    RTT_SET_RIPAS = 0x169,
    RMM_CONFIG_SET = 0x16e,
    GRANULE_TRACKING_GET = 0x1e1,
    RMM_CONFIG_GET = 0x1ec,
    GRANULE_RANGE_DELEGATE = 0x1f1,
    GRANULE_RANGE_UNDELEGATE = 0x1f2,
    GPT_L1_CREATE = 0x1f3,
    RTT_DATA_MAP = 0x1f5,
    RTT_DATA_UNMAP = 0x1f6,
    RTT_UNPROT_MAP = 0x1fb,
    RTT_UNPROT_UNMAP = 0x1fc,
    REALM_TERMINATE = 0x201,
    RMM_ACTIVATE = 0x202,
    OP_CONTINUE = 0x203,
    OP_MEM_DONATE = 0x208,
    OP_MEM_RECLAIM = 0x209,
    OP_CANCEL = 0x20a,
}

impl Fid {
    /// RMI_DATA_CREATE: what RMI 1.0 calls RTT_DATA_MAP_INIT.
    pub const DATA_CREATE: Fid = Fid::RTT_DATA_MAP_INIT;

    /// Those among [`Fid::ALL`] that RMI 2.0 does not have.
    pub const ONLY_1_0: [Fid; 7] = [
        Self::GRANULE_DELEGATE,
        Self::GRANULE_UNDELEGATE,
        Self::DATA_CREATE_UNKNOWN,
        Self::DATA_DESTROY,
        Self::RTT_MAP_UNPROTECTED,
        Self::RTT_UNMAP_UNPROTECTED,
        Self::REC_AUX_COUNT,
    ];

    /// Number of commands in [`Fid::ALL`].
    pub const COUNT: usize = Self::ALL.len();

    /// A function identifier as it stands in W0, whether the project knows it or not.
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The identifier as it stands in W0.
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// Position in [`Fid::ALL`], for tables with one entry per command.
    pub fn index(self) -> Option<usize> {
        let number = self.0.checked_sub(FIRST)?;
        let place = PLACES.get(usize::try_from(number).ok()?)?;
        usize::from(*place).checked_sub(1)
    }
}

impl fmt::Display for Fid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RMI_{} ({:#x})", self.name(), self.0)
    }
}
