/* SPDX-License-Identifier: GPL-2.0 */

/*
 * The way into the payload, at EL1 with the MMU off, and its exception vectors. x0 is the context
 * that the host or PSCI CPU_ON gave this REC; its low byte selects the stack.
 */

	.section .head, "ax"
	.globl	payload_entry
payload_entry:
	and	x1, x0, #0xff
	cmp	x1, #{RECS}
	b.hs	give_up
	add	x1, x1, #1
	adrp	x2, stacks
	add	x2, x2, x1, lsl #{STACK_SHIFT}
	mov	sp, x2
	adr	x1, vectors
	msr	vbar_el1, x1
	msr	tpidr_el0, xzr
	msr	tpidr_el1, xzr
	isb
	mov	x29, xzr
	mov	x30, xzr
	b	{main}

/* Nobody expected this: the realm asks for a reset, which it never asks for otherwise. */
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
	vector	give_up
	.endr
	vector	synchronous
	vector	interrupt
	.rept	10
	vector	give_up
	.endr

/*
 * A synchronous exception. Code that provokes one keeps TPIDR_EL1 not 0 meanwhile. It finds the
 * syndrome in x16 and goes on after the instruction, or at x30 if it was a jump.
 */
synchronous:
	mrs	x16, tpidr_el1
	cbz	x16, give_up
	mrs	x16, esr_el1
	lsr	x17, x16, #26
	cmp	x17, #{EC_INSTRUCTION_ABORT}
	mrs	x17, elr_el1
	add	x17, x17, #4
	csel	x17, x30, x17, eq
	msr	elr_el1, x17
	eret

/* An interrupt: the virtual timer's, and no other. TPIDR_EL0 counts them. */
interrupt:
	stp	x0, x1, [sp, #-16]!
	mrs	x0, s3_0_c12_c12_0		/* ICC_IAR1_EL1 */
	cmp	x0, #{TIMER}
	b.ne	give_up
	mov	x1, #3				/* masked */
	msr	cntv_ctl_el0, x1
	isb
	msr	s3_0_c12_c12_1, x0		/* ICC_EOIR1_EL1 */
	mrs	x1, tpidr_el0
	add	x1, x1, #1
	msr	tpidr_el0, x1
	ldp	x0, x1, [sp], #16
	eret

	.section .bss.stacks, "aw", @nobits
	.balign	4096
stacks:
	.space	{RECS} << {STACK_SHIFT}
