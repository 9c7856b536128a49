/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Realms through KVM: what linux/kvm.h has not got yet. README.md beside this
 * file says what each of it does; mod.rs is the same for Rust.
 */
#ifndef _KVM_ARM_RMI_H
#define _KVM_ARM_RMI_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/kvm.h>
#include <linux/types.h>

/*
 * Only a default: the number that a host uses is in
 * /sys/module/kvm_arm_rmi/parameters/cap.
 */
#ifndef KVM_CAP_ARM_RMI
#define KVM_CAP_ARM_RMI			253
#endif

/* KVM_CREATE_VM: the VM is a realm. Bits 7:0 have its IPA size, as for any. */
#ifndef KVM_VM_TYPE_ARM_REALM
#define KVM_VM_TYPE_ARM_REALM		_BITUL(30)
#endif

#ifndef KVM_ARM_RMI_POPULATE
/**
 * struct kvm_arm_rmi_populate - memory that a realm starts with
 * @base: IPA; the kernel moves it on
 * @size: in bytes; the kernel leaves what is still to do
 * @source_uaddr: where the contents are; the kernel moves it on
 * @flags: KVM_ARM_RMI_POPULATE_FLAGS_*
 * @reserved: 0
 */
struct kvm_arm_rmi_populate {
	__u64 base;
	__u64 size;
	__u64 source_uaddr;
	__u32 flags;
	__u32 reserved;
};

/* The contents go into the realm's initial measurement. */
#define KVM_ARM_RMI_POPULATE_FLAGS_MEASURE	_BITUL(0)

/* On a VM. */
#define KVM_ARM_RMI_POPULATE	_IOWR(KVMIO, 0xd7, struct kvm_arm_rmi_populate)
#endif

#ifndef KVM_ARM_RMI_FAULT_ACCESS
/**
 * struct kvm_arm_rmi_memory_fault - a longer memory_fault of struct kvm_run
 * @flags: as there
 * @gpa: as there
 * @size: as there
 * @cause: KVM_ARM_RMI_FAULT_*; written by the kernel
 * @answer: 0 or KVM_ARM_RMI_FAULT_REJECT; read by the kernel when the vCPU runs
 *	again, and set to 0 by it at each exit
 */
struct kvm_arm_rmi_memory_fault {
	__u64 flags;
	__u64 gpa;
	__u64 size;
	__u64 cause;
	__u64 answer;
};

/* The realm has touched what may only be used in the other half. */
#define KVM_ARM_RMI_FAULT_ACCESS	1
/* The realm has asked for it (RSI_IPA_STATE_SET). */
#define KVM_ARM_RMI_FAULT_RIPAS		2
/* The memory that is to be there cannot be had. */
#define KVM_ARM_RMI_FAULT_MEMORY	3

/* To KVM_ARM_RMI_FAULT_RIPAS: no. */
#define KVM_ARM_RMI_FAULT_REJECT	1
#endif

#ifndef KVM_ARM_VM_RMI_CTRL
/* KVM_{HAS,GET,SET}_DEVICE_ATTR on a VM: the group, and its attributes. */
#define KVM_ARM_VM_RMI_CTRL		0x100
/* __u64: how the realm is measured, KVM_ARM_RMI_HASH_*. */
#define   KVM_ARM_VM_RMI_HASH_ALGO	0
/* __u8[64]: the realm personalisation value. */
#define   KVM_ARM_VM_RMI_RPV		1
/* __u64, read only: bit N is set if the RMM has hash algorithm N. */
#define   KVM_ARM_VM_RMI_HASH_ALGOS	2
#endif

#define KVM_ARM_RMI_HASH_SHA_256	0
#define KVM_ARM_RMI_HASH_SHA_512	1
#define KVM_ARM_RMI_HASH_SHA_384	2

#endif /* _KVM_ARM_RMI_H */
