// SPDX-License-Identifier: GPL-2.0

//! What realms have in their SVE registers stays theirs, whole, whichever length of vectors they have.

use kvm_bindings::KVM_CAP_ARM_SVE;
use kvm_ioctls::VcpuExit;

use super::bare::{code_between, Bare, Lengths, With};
use super::host_cpu::stay_on;
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, Result};

/// Lengths of vectors that are tried, in bits, as far as the RMM has them.
const LENGTHS: [u64; 4] = [128, 256, 512, 2048];
/// The other VM's vectors, which are longer than most.
const OTHERS: u64 = 1024;
/// Each VM fills its registers so often.
const ROUNDS: u64 = 60;
/// The device's registers: read at each round's end; what the last round found wrong; bytes of a vector.
const NEXT: u64 = 0;
const WRONG: u64 = 8;
const LENGTH: u64 = 16;

// With x0 the address of the device: each round fills Z0 to Z31, P0 to P15 and FFR with numbers of its own,
// comes back to the VMM, and counts in x5 which of them are not what they were. The registers that it
// compares with are not compared; they change places from round to round.
core::arch::global_asm!(
    ".arch_extension sve",
    ".global sve_guest_start, sve_guest_end",
    // The predicate's first elements, another number of them for each register and round.
    ".macro predicate p, n",
    "    add x7, x1, #(\\n * 5)",
    "    and x7, x7, #255",
    "    whilelo \\p\\().b, xzr, x7",
    ".endm",
    // Counts one more in x5 if P\\p is not what it was; clobbers \\t and \\g.
    ".macro compare_predicate n, t, g",
    "    ptrue \\g\\().b",
    "    predicate \\t, \\n",
    "    eors \\t\\().b, \\g/z, \\t\\().b, p\\n\\().b",
    "    cinc x5, x5, ne",
    ".endm",
    // The same of Z\\n.
    ".macro compare_vector n, t, p, g",
    "    add x7, x1, #(\\n * 16)",
    "    index \\t\\().d, x7, #3",
    "    ptrue \\g\\().d",
    "    cmpne \\p\\().d, \\g/z, \\t\\().d, z\\n\\().d",
    "    cinc x5, x5, ne",
    ".endm",
    "sve_guest_start:",
    "    mrs x2, cpacr_el1",
    "    orr x2, x2, #(3 << 20)",
    "    orr x2, x2, #(3 << 16)",
    "    msr cpacr_el1, x2",
    "    isb",
    "    mov x2, #15",
    "    msr s3_0_c1_c2_0, x2",
    "    isb",
    "1:  add x1, x1, #1",
    "    mov x5, #0",
    "    predicate p0, 77",
    "    wrffr p0.b",
    "    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    add x7, x1, #(\\n * 16)",
    "    index z\\n\\().d, x7, #3",
    "    .endr",
    "    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "    predicate p\\n, \\n",
    "    .endr",
    "    ldr w2, [x0]",
    "    tbnz x1, #0, 2f",
    "    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13",
    "    compare_predicate \\n, p14, p15",
    "    .endr",
    "    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30",
    "    compare_vector \\n, z31, p14, p7",
    "    .endr",
    "    b 3f",
    "2:  .irp n, 2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "    compare_predicate \\n, p0, p1",
    "    .endr",
    "    .irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    compare_vector \\n, z0, p0, p1",
    "    .endr",
    "3:  rdffr p3.b",
    "    ptrue p1.b",
    "    predicate p0, 77",
    "    eors p0.b, p1/z, p0.b, p3.b",
    "    cinc x5, x5, ne",
    "    rdvl x6, #1",
    "    str x5, [x0, #8]",
    "    str x6, [x0, #16]",
    "    b 1b",
    "sve_guest_end:",
);

extern "C" {
    static sve_guest_start: u8;
    static sve_guest_end: u8;
}

/// A VM with vectors of so many bits, and what its guest has said.
struct Busy {
    bare: Bare,
    bits: u64,
    rounds: u64,
}

impl Busy {
    fn new(shape: Shape, bits: u64) -> Result<Self> {
        // SAFETY: The code is between the two symbols.
        let code = unsafe { code_between(&raw const sve_guest_start, &raw const sve_guest_end) };
        Ok(Self {
            bare: Bare::new(shape, code, With::Sve(Lengths::UpTo(bits)), &[])?,
            bits,
            rounds: 0,
        })
    }

    /// Until the guest has filled its registers and waits for the next word of the device.
    fn round(&mut self) -> Result<()> {
        let (bits, realm, rounds) = (self.bits, self.bare.realm, self.rounds);
        loop {
            match self.bare.cpu.run() {
                Ok(VcpuExit::MmioRead(at, data)) => {
                    ensure!(at & 0xfff == NEXT, "a read at {at:#x}");
                    data.fill(0);
                    self.rounds += 1;
                    return Ok(());
                }
                Ok(VcpuExit::MmioWrite(at, data)) => {
                    let value = u64::from_le_bytes(data.try_into()?);
                    match at & 0xfff {
                        WRONG => ensure!(
                            value == 0,
                            "{bits} bits (realm: {realm}), round {rounds}: {value} registers are not what they were"
                        ),
                        LENGTH => ensure!(
                            value * 8 == bits,
                            "vectors of {value} bytes (realm: {realm}), not of {bits} bits"
                        ),
                        _ => return Err(format!("a write at {at:#x}").into()),
                    }
                }
                Ok(exit) => return Err(format!("realm: {realm}: {exit:?}").into()),
                Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A realm with vectors of so many bits, by turns with an ordinary VM, on one CPU and on another.
fn by_turns(bits: u64) -> Result<()> {
    let ordinary = Shape {
        realm: false,
        ..Shape::REALM
    };
    let mut realm = Busy::new(Shape::REALM, bits)?;
    let mut other = Busy::new(ordinary, OTHERS)?;
    for round in 0..ROUNDS {
        realm.round()?;
        // Now and then the realm goes on where it was, and now and then where the other has been.
        if round % 3 == 0 {
            other.round()?;
        }
        stay_on((round / 2 % 2) as usize)?;
    }
    println!(
        "  {bits} bits: {} rounds, {} of the other",
        realm.rounds, other.rounds
    );
    Ok(())
}

/// `realm sve`: the guests of realms fill all of SVE's registers, and find them as they were whenever they
/// have been away.
pub(super) fn main() -> Result<()> {
    let before = debugfs::delegated()?;
    let vm = Vm::empty(Shape::REALM)?;
    ensure!(
        vm.fd.check_extension_raw(KVM_CAP_ARM_SVE.into()) > 0,
        "this RMM has no SVE"
    );
    drop(vm);
    for bits in LENGTHS {
        by_turns(bits)?;
    }
    debugfs::expect_delegated(before)
}
