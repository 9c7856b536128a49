/* SPDX-License-Identifier: GPL-2.0 */

/*
 * The way into the guest, at EL1 with the MMU off, and its exception vectors. x0 is what the VMM
 * or CPU_ON gave this CPU; its number selects the stack.
 */

	.section .head, "ax"
	.globl	guest_entry
guest_entry:
	mrs	x2, mpidr_el1
	and	x1, x2, #(1 << {AFF0_BITS}) - 1
	ubfx	x2, x2, #8, #8
	add	x1, x1, x2, lsl #{AFF0_BITS}
	cmp	x1, #{CPUS}
	b.hs	give_up
	add	x3, x1, #1
	adrp	x2, stacks
	add	x2, x2, x3, lsl #{STACK_SHIFT}
	mov	sp, x2
	adr	x2, vectors
	msr	vbar_el1, x2
	msr	tpidr_el1, xzr
	isb
	mov	x29, xzr
	mov	x30, xzr
	b	{main}

/* There is no way to tell: a reset, which nobody has asked for, is noticed. */
	.globl	give_up
give_up:
	ldr	w0, ={SYSTEM_RESET}
	smc	#0
	b	give_up

	.ltorg

	.macro	vector target
	.balign	128
	b	\target
	.endm

	.balign	2048
vectors:
	.rept	4
	vector	unexpected
	.endr
	vector	synchronous
	vector	interrupt
	.rept	10
	vector	unexpected
	.endr

/*
 * A synchronous exception. Code that provokes one keeps TPIDR_EL1 not 0 meanwhile. It finds the
 * syndrome in x16 and goes on after the instruction, or at x30 if it was a jump.
 */
synchronous:
	mrs	x16, tpidr_el1
	cbz	x16, unexpected
	mrs	x16, esr_el1
	lsr	x17, x16, #26
	cmp	x17, #{EC_INSTRUCTION_ABORT}
	mrs	x17, elr_el1
	add	x17, x17, #4
	csel	x17, x30, x17, eq
	msr	elr_el1, x17
	eret

/* TPIDR_EL1 is -1 once this has been entered, so that it cannot go round. */
unexpected:
	mrs	x3, tpidr_el1
	cmn	x3, #1
	b.eq	give_up
	mov	x3, #-1
	msr	tpidr_el1, x3
	mrs	x0, esr_el1
	mrs	x1, elr_el1
	mrs	x2, far_el1
	bl	{unexpected}
	b	give_up

/* An interrupt. Whatever Rust may change is kept here. */
interrupt:
	sub	sp, sp, #176
	stp	x0, x1, [sp, #0]
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x29, [sp, #144]
	str	x30, [sp, #160]
	bl	{interrupt}
	ldp	x0, x1, [sp, #0]
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x29, [sp, #144]
	ldr	x30, [sp, #160]
	add	sp, sp, #176
	eret

	.section .bss.stacks, "aw", @nobits
	.balign	4096
stacks:
	.space	{CPUS} << {STACK_SHIFT}
