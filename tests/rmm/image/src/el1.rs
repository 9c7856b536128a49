// SPDX-License-Identifier: GPL-2.0

//! The registers of EL1 and EL0, which the host and the realms share: EL3 does not switch them.

use rmm::rec::context::{El1, Keys};

use crate::arch::{mrs, msr};
use crate::cpu::Features;

/// Defines `save_always` and `load_always` for registers that every CPU has.
macro_rules! registers {
    ($($name:ident = $register:literal;)*) => {
        fn save_always(to: &mut El1) {
            $(to.$name = mrs!($register);)*
        }

        fn load_always(from: &El1) {
            $(msr!($register, from.$name);)*
        }
    };
}

// Where the number has op1 = 5 it is that of the _EL12 name, by which EL2 reaches the register of
// EL1 while its own has that name.
registers! {
    sp_el0 = "sp_el0";
    sp_el1 = "sp_el1";
    elr_el1 = "s3_5_c4_c0_1";
    spsr_el1 = "s3_5_c4_c0_0";
    sctlr_el1 = "s3_5_c1_c0_0";
    actlr_el1 = "actlr_el1";
    cpacr_el1 = "s3_5_c1_c0_2";
    ttbr0_el1 = "s3_5_c2_c0_0";
    ttbr1_el1 = "s3_5_c2_c0_1";
    tcr_el1 = "s3_5_c2_c0_2";
    mair_el1 = "s3_5_c10_c2_0";
    amair_el1 = "s3_5_c10_c3_0";
    esr_el1 = "s3_5_c5_c2_0";
    far_el1 = "s3_5_c6_c0_0";
    afsr0_el1 = "s3_5_c5_c1_0";
    afsr1_el1 = "s3_5_c5_c1_1";
    par_el1 = "par_el1";
    vbar_el1 = "s3_5_c12_c0_0";
    contextidr_el1 = "s3_5_c13_c0_1";
    tpidr_el0 = "tpidr_el0";
    tpidrro_el0 = "tpidrro_el0";
    tpidr_el1 = "tpidr_el1";
    csselr_el1 = "csselr_el1";
    cntkctl_el1 = "s3_5_c14_c1_0";
    mdscr_el1 = "mdscr_el1";
    mdccint_el1 = "mdccint_el1";
}

/// Saves the registers.
pub(crate) fn save(cpu: &Features, to: &mut El1) {
    save_always(to);
    if cpu.ras {
        to.disr_el1 = mrs!("s3_0_c12_c1_1");
    }
    if cpu.sctlr2 {
        to.sctlr2_el1 = mrs!("s3_5_c1_c0_3");
    }
    if cpu.tcr2 {
        to.tcr2_el1 = mrs!("s3_5_c2_c0_3");
    }
    if cpu.s1pie {
        to.pir_el1 = mrs!("s3_5_c10_c2_3");
        to.pire0_el1 = mrs!("s3_5_c10_c2_2");
    }
    if cpu.s1poe {
        to.por_el1 = mrs!("s3_5_c10_c2_4");
    }
}

/// Loads the registers.
pub(crate) fn load(cpu: &Features, from: &El1) {
    load_always(from);
    if cpu.ras {
        msr!("s3_0_c12_c1_1", from.disr_el1);
    }
    if cpu.sctlr2 {
        msr!("s3_5_c1_c0_3", from.sctlr2_el1);
    }
    if cpu.tcr2 {
        msr!("s3_5_c2_c0_3", from.tcr2_el1);
    }
    if cpu.s1pie {
        msr!("s3_5_c10_c2_3", from.pir_el1);
        msr!("s3_5_c10_c2_2", from.pire0_el1);
    }
    if cpu.s1poe {
        msr!("s3_5_c10_c2_4", from.por_el1);
    }
}

/// Defines `save_keys` and `load_keys`.
macro_rules! keys {
    ($($name:ident = $low:literal $high:literal;)*) => {
        /// Saves the pointer authentication keys, which EL3 switches for the host.
        pub(crate) fn save_keys(to: &mut Keys) {
            $(to.$name = [mrs!($low), mrs!($high)];)*
        }

        /// Loads the pointer authentication keys. The RMM's own code does not use any.
        pub(crate) fn load_keys(from: &Keys) {
            $(
                let [low, high] = from.$name;
                msr!($low, low);
                msr!($high, high);
            )*
        }
    };
}

keys! {
    apia = "s3_0_c2_c1_0" "s3_0_c2_c1_1";
    apib = "s3_0_c2_c1_2" "s3_0_c2_c1_3";
    apda = "s3_0_c2_c2_0" "s3_0_c2_c2_1";
    apdb = "s3_0_c2_c2_2" "s3_0_c2_c2_3";
    apga = "s3_0_c2_c3_0" "s3_0_c2_c3_1";
}
