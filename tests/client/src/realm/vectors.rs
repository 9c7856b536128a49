// SPDX-License-Identifier: GPL-2.0

//! The vector registers of the task that runs vCPUs stay its own.

use std::os::fd::AsRawFd;

use kvm_bindings::{
    kvm_run,
    KVM_CAP_ARM_SVE,
    KVM_EXIT_MMIO, //
};

use super::bare::{code_between, Bare, Lengths, With};
use super::host_cpu::stay_on;
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, Result};

/// Each of the two vCPUs runs so often.
const ROUNDS: u64 = 200;
/// Registers, and bytes of each at most.
const REGISTERS: usize = 32;
const LONGEST: usize = 256;
/// prctl(): the length of the task's SVE vectors.
const PR_SVE_SET_VL: libc::c_int = 50;
const PR_SVE_GET_VL: libc::c_int = 51;
const PR_SVE_VL_LEN_MASK: libc::c_int = 0xffff;

// What the vCPUs run: with x0 the address of a device, and x3 not 0 where there is SVE, fills all
// vector registers with a new number, and reads from the device.
core::arch::global_asm!(
    ".arch_extension sve",
    ".global vectors_guest_start, vectors_guest_end, vectors_run",
    "vectors_guest_start:",
    "    mrs x2, cpacr_el1",
    "    orr x2, x2, #(3 << 20)",
    "    orr x2, x2, #(3 << 16)",
    "    msr cpacr_el1, x2",
    "    isb",
    "1:  add x1, x1, #1",
    "    msr fpsr, xzr",
    "    msr fpcr, xzr",
    "    cbnz x3, 2f",
    "    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    dup v\\n\\().2d, x1",
    "    .endr",
    "    b 3f",
    "2:  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    dup z\\n\\().d, x1",
    "    .endr",
    "3:  ldr w2, [x0]",
    "    b 1b",
    "vectors_guest_end:",
    // What the task does: from the area at x1, with Z registers if x3 is not 0; KVM_RUN of x0; to
    // the area at x2. Returns what the system call does.
    "vectors_run:",
    "    stp d8, d9, [sp, #-80]!",
    "    stp d10, d11, [sp, #16]",
    "    stp d12, d13, [sp, #32]",
    "    stp d14, d15, [sp, #48]",
    "    mrs x9, fpcr",
    "    str x9, [sp, #64]",
    "    mov x10, x2",
    "    ldr x9, [x1, #8192]",
    "    msr fpcr, x9",
    "    ldr x9, [x1, #8200]",
    "    msr fpsr, x9",
    "    cbnz x3, 1f",
    "    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    ldr q\\n, [x1, #(\\n * 16)]",
    "    .endr",
    "    b 2f",
    "1:  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    ldr z\\n, [x1, #\\n, mul vl]",
    "    .endr",
    "2:  mov x1, #0xae80",
    "    mov x2, #0",
    "    mov x8, #29",
    "    svc #0",
    "    cbnz x3, 3f",
    "    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    str q\\n, [x10, #(\\n * 16)]",
    "    .endr",
    "    b 4f",
    "3:  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    str z\\n, [x10, #\\n, mul vl]",
    "    .endr",
    "4:  mrs x9, fpcr",
    "    str x9, [x10, #8192]",
    "    mrs x9, fpsr",
    "    str x9, [x10, #8200]",
    "    ldr x9, [sp, #64]",
    "    msr fpcr, x9",
    "    ldp d10, d11, [sp, #16]",
    "    ldp d12, d13, [sp, #32]",
    "    ldp d14, d15, [sp, #48]",
    "    ldp d8, d9, [sp], #80",
    "    ret",
);

/// All of the registers that the test is about.
#[repr(C, align(16))]
#[derive(Clone, PartialEq, Eq)]
struct Area {
    vectors: [u8; REGISTERS * LONGEST],
    fpcr: u64,
    fpsr: u64,
}

extern "C" {
    static vectors_guest_start: u8;
    static vectors_guest_end: u8;
    fn vectors_run(vcpu: i32, from: *const Area, to: *mut Area, sve: u64) -> i64;
}

impl Area {
    /// Something else each time.
    fn new(seed: u64) -> Self {
        let mut vectors = [0; REGISTERS * LONGEST];
        for (byte, n) in vectors.iter_mut().zip(0u64..) {
            // Never 0, which is what the upper part of a Z register may become.
            *byte = (n.wrapping_mul(167) ^ seed.wrapping_mul(29)) as u8 | 1;
        }
        Self {
            vectors,
            // Rounding towards plus infinity; saturation, and an invalid operation.
            fpcr: 1 << 22,
            fpsr: 1 << 27 | 1,
        }
    }
}

/// A VM with one vCPU that fills its own vector registers and comes back, over and over.
struct Busy(Bare);

impl Busy {
    fn new(shape: Shape, sve: bool) -> Result<Self> {
        // SAFETY: The code is between the two symbols.
        let code =
            unsafe { code_between(&raw const vectors_guest_start, &raw const vectors_guest_end) };
        let with = match sve {
            true => With::Sve(Lengths::Default),
            false => With::Nothing,
        };
        Ok(Self(Bare::new(shape, code, with, &[(3, sve.into())])?))
    }

    /// KVM_RUN with `before` in the task's registers; returns what is in them afterwards.
    fn run(&mut self, before: &Area, sve: bool) -> Result<Area> {
        let mut after = Area::new(0);
        // SAFETY: It stores what it has loaded, and KVM_RUN writes to the VM's memory and to the
        // page that the two share.
        let result =
            unsafe { vectors_run(self.0.cpu.as_raw_fd(), before, &raw mut after, sve.into()) };
        let run: &kvm_run = self.0.cpu.get_kvm_run();
        let back = result == 0 && run.exit_reason == KVM_EXIT_MMIO;
        // Nobody sends this task signals, and an entry that was refused for now may be tried again.
        let again = [-libc::EINTR, -libc::EAGAIN]
            .map(i64::from)
            .contains(&result);
        let (realm, reason) = (self.0.realm, run.exit_reason);
        ensure!(
            back || again,
            "KVM_RUN (realm: {realm}): {result}, reason {reason}"
        );
        Ok(after)
    }
}

/// Bytes of the task's SVE vectors, or 0.
fn vector_length() -> usize {
    // SAFETY: It has no arguments.
    let length = unsafe { libc::prctl(PR_SVE_GET_VL) };
    (length.max(0) & PR_SVE_VL_LEN_MASK) as usize
}

/// `after` has to be what `before` was. A system call may clear what a Z register has beyond 128 bits.
fn compare(before: &Area, after: &Area, length: usize) -> Result<()> {
    let step = length.max(16);
    for (n, (old, new)) in before
        .vectors
        .chunks(step)
        .zip(after.vectors.chunks(step))
        .take(REGISTERS)
        .enumerate()
    {
        let upper_is_zero = new[16..].iter().all(|byte| *byte == 0);
        ensure!(
            new[..16] == old[..16] && (upper_is_zero || new[16..] == old[16..]),
            "vector register {n} became {new:x?}"
        );
    }
    ensure!(
        (after.fpcr, after.fpsr) == (before.fpcr, before.fpsr),
        "FPCR became {:#x}, FPSR {:#x}",
        after.fpcr,
        after.fpsr
    );
    Ok(())
}

/// One task runs both VMs in turn.
fn in_turn(guests_sve: [bool; 2]) -> Result<()> {
    let ordinary = Shape {
        realm: false,
        ..Shape::REALM
    };
    let [one, other] = guests_sve;
    let mut both = [Busy::new(ordinary, one)?, Busy::new(Shape::REALM, other)?];
    let length = vector_length();
    let mut wrong = 0;
    let mut first = None;
    for round in 1..=ROUNDS {
        for (n, busy) in both.iter_mut().enumerate() {
            let before = Area::new(round * 2 + n as u64);
            let after = busy.run(&before, length != 0)?;
            if let Err(error) = compare(&before, &after, length) {
                wrong += 1;
                first.get_or_insert(format!("round {round}, VM {n}: {error}"));
            }
        }
    }
    ensure!(
        wrong == 0,
        "guests' SVE {guests_sve:?}, vectors of {length} bytes: {wrong} times wrong, first {first:?}"
    );
    Ok(())
}

/// `realm vectors`: the registers of a task that runs an ordinary vCPU and a realm's by turns, on one
/// CPU, where both fill theirs.
pub(super) fn main() -> Result<()> {
    let before = debugfs::delegated()?;
    stay_on(0)?;
    in_turn([false, false])?;
    let sve = Vm::empty(Shape::REALM)?
        .fd
        .check_extension_raw(KVM_CAP_ARM_SVE.into())
        > 0;
    if sve {
        for length in [vector_length() as libc::c_ulong, 16] {
            // SAFETY: Registers that the compiler uses keep their 128 bits.
            let set = unsafe { libc::prctl(PR_SVE_SET_VL, length) };
            ensure!(set >= 0, "cannot have vectors of {length} bytes");
            for guests_sve in [[true, true], [true, false], [false, true]] {
                in_turn(guests_sve)?;
            }
        }
    }
    println!("{ROUNDS} rounds each, SVE: {sve}");
    debugfs::expect_delegated(before)
}
