// SPDX-License-Identifier: GPL-2.0

//! Emulated registers, aborts, and calls to the host.

use kvm_bindings::{
    kvm_device_attr,
    kvm_smccc_filter,
    kvm_smccc_filter_action_KVM_SMCCC_FILTER_FWD_TO_USER,
    KVM_ARM_VM_SMCCC_CTRL,
    KVM_ARM_VM_SMCCC_FILTER, //
};
use realm_guest::{mailbox, rsi, Op, Order, MAILBOXES};

use crate::realm::cpu::{Access, Cpu, Treat};
use crate::realm::vm::Vm;
use crate::realm::{ensure, Result};

/// Function of the OEM's that user space answers.
const FORWARDED: u64 = 0xc300_0001;
/// Function that KVM answers: SMCCC_VERSION, with 1.1.
const SMCCC_VERSION: u64 = 0x8000_0000;
const SMCCC_1_1: u64 = 0x1_0001;
/// Function that nobody answers.
const UNKNOWN: u64 = 0xc300_1000;

const ROUNDS: u64 = 100;
/// Where nothing is, in either half.
const NOWHERE: u64 = 0x2000_0000;

/// Has KVM hand calls of [`FORWARDED`] to us.
pub(super) fn forward_calls(vm: &Vm) -> Result<()> {
    let filter = kvm_smccc_filter {
        base: FORWARDED as u32,
        nr_functions: 1,
        action: kvm_smccc_filter_action_KVM_SMCCC_FILTER_FWD_TO_USER as u8,
        pad: [0; 15],
    };
    Ok(vm.fd.set_device_attr(&kvm_device_attr {
        group: KVM_ARM_VM_SMCCC_CTRL,
        attr: KVM_ARM_VM_SMCCC_FILTER.into(),
        addr: (&raw const filter).addr() as u64,
        flags: 0,
    })?)
}

/// Reads and writes of emulated registers, and accesses that fail.
pub(in crate::realm) fn check(cpu: &mut Cpu<'_>) -> Result<()> {
    cpu.sunk = 0;
    cpu.expect(Order::new(Op::MmioWrite, ROUNDS), &[], 0)?;
    let sum = ROUNDS * (ROUNDS + 1) / 2;
    ensure!(cpu.sunk == sum, "{} arrived instead of {sum}", cpu.sunk);
    cpu.expect(Order::new(Op::MmioRead, ROUNDS), &[], sum)?;

    for size in [1, 2, 4, 8] {
        check_size(cpu, size)?;
    }
    println!("emulated registers: ok");

    cpu.treat = Treat::Abort;
    let register = upper(cpu, MAILBOXES + mailbox::FREE);
    let [syndrome, ..] = cpu.order(Order::new(Op::Load, 0), &[register, 4])?;
    expect_abort("a read that the VMM aborts", syndrome)?;
    expect_abort("a write that the VMM aborts", store(cpu, register, 8)?)?;
    cpu.treat = Treat::Value(0);
    cpu.accesses.clear();
    if cpu.vm.shape.realm {
        let pair = Order::new(Op::LoadPair, 0);
        let [syndrome, ..] = cpu.order(pair, &[upper(cpu, NOWHERE)])?;
        expect_abort("a read that no syndrome describes", syndrome)?;
        let [syndrome, ..] = cpu.order(Order::new(Op::Load, 0), &[NOWHERE, 8])?;
        expect_abort("a read where the realm has no memory", syndrome)?;
    }
    println!("external aborts: ok");
    Ok(())
}

/// `address` as the guest finds devices.
pub(super) fn upper(cpu: &Cpu<'_>, address: u64) -> u64 {
    let shape = cpu.vm.shape;
    match (shape.realm, shape.ipa_bits) {
        (false, _) => address,
        (true, 0) => address | (1 << 39),
        (true, bits) => address | (1 << (bits - 1)),
    }
}

fn store(cpu: &mut Cpu<'_>, address: u64, size: u64) -> Result<u64> {
    const VALUE: u64 = 0x8877_6655_4433_2211;
    let [syndrome, ..] = cpu.order(Order::new(Op::Store, 0), &[address, size, VALUE])?;
    Ok(syndrome)
}

/// Accesses of 1 to 8 bytes, at an address in the page that is not its first.
fn check_size(cpu: &mut Cpu<'_>, size: u64) -> Result<()> {
    const VALUE: u64 = 0xfedc_ba98_7654_3210;
    let offset = 0x48;
    let address = upper(cpu, MAILBOXES + mailbox::FREE + offset);
    let mask = u64::MAX >> (64 - 8 * size);
    cpu.treat = Treat::Value(VALUE & mask);
    cpu.accesses.clear();
    let [syndrome, value, ..] = cpu.order(Order::new(Op::Load, 0), &[address, size])?;
    ensure!(
        syndrome == 0 && value == VALUE & mask,
        "a read of {size} bytes: {value:#x}, syndrome {syndrome:#x}"
    );
    let syndrome = store(cpu, address, size)?;
    ensure!(syndrome == 0, "a write of {size} bytes: {syndrome:#x}");
    let access = |written| Access {
        offset,
        size: size as usize,
        written,
    };
    let wanted = [access(None), access(Some(0x8877_6655_4433_2211 & mask))];
    ensure!(
        cpu.accesses == wanted,
        "{:x?} instead of {wanted:x?}",
        cpu.accesses
    );
    Ok(())
}

fn expect_abort(what: &str, syndrome: u64) -> Result<()> {
    /// ESR_ELx: a data abort without a change of exception level; a synchronous external abort.
    const EC_DATA_ABORT: u64 = 0x25;
    const DFSC_EXTERNAL: u64 = 0x10;
    ensure!(
        syndrome >> 26 == EC_DATA_ABORT && syndrome & 0x3f == DFSC_EXTERNAL,
        "{what}: syndrome {syndrome:#x}"
    );
    Ok(())
}

/// Host calls: answered by KVM, by us, and by nobody.
pub(super) fn check_calls(cpu: &mut Cpu<'_>) -> Result<()> {
    let call = Order::new(Op::HostCall, ROUNDS);
    let [different, status, answer, ..] = cpu.order(call, &[SMCCC_VERSION])?;
    ensure!(
        [different, status, answer] == [0, rsi::SUCCESS, SMCCC_1_1],
        "host calls: {different} different, status {status}, answer {answer:#x}"
    );
    let [_, status, answer, ..] = cpu.order(Order::new(Op::HostCall, 1), &[UNKNOWN])?;
    ensure!(
        [status, answer] == [rsi::SUCCESS, u64::MAX],
        "an unknown host call: status {status}, answer {answer:#x}"
    );

    cpu.hypercall_answer = [0x11, 0x2222, 0x3333_3333, u64::MAX - 1];
    cpu.hypercalls.clear();
    let [_, status, answer @ .., _, _, _] =
        cpu.order(Order::new(Op::HostCall, 1), &[FORWARDED, 5, 6, 7])?;
    ensure!(
        status == rsi::SUCCESS && answer[..4] == cpu.hypercall_answer,
        "a host call for user space: status {status}, {answer:x?}"
    );
    ensure!(
        cpu.hypercalls == [FORWARDED],
        "calls that came to user space: {:x?}",
        cpu.hypercalls
    );
    println!("host calls: ok");
    Ok(())
}
