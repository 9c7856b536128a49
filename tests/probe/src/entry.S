/* SPDX-License-Identifier: GPL-2.0 */

/*
 * The way into the probe, at Non-secure EL2 with the MMU off, for the first CPU (probe_entry) and
 * for those that it turns on (probe_entry_next, x0: the CPU's number); and the exception vectors.
 */

	.section .head, "ax"
	.globl	probe_entry
probe_entry:
	ldr	x1, =__bss_start
	ldr	x2, =__bss_end
1:	cmp	x1, x2
	b.hs	2f
	stp	xzr, xzr, [x1], #16
	b	1b
2:	mov	x0, xzr

	.globl	probe_entry_next
probe_entry_next:
	msr	daifset, #0xf
	msr	tpidr_el2, x0
	ldr	x1, ={HCR}
	msr	hcr_el2, x1
	ldr	x1, =vectors
	msr	vbar_el2, x1

	/* Caches and exclusive accesses need the MMU. It maps everything where it is. */
	ldr	x1, ={MAIR}
	msr	mair_el2, x1
	ldr	x1, ={TCR}
	msr	tcr_el2, x1
	ldr	x1, =root_table
	msr	ttbr0_el2, x1
	isb
	tlbi	alle2
	ic	iallu
	dsb	nsh
	isb
	ldr	x1, ={SCTLR}
	msr	sctlr_el2, x1
	isb

	add	x1, x0, #1
	ldr	x2, =stacks
	add	x2, x2, x1, lsl #{STACK_SHIFT}
	mov	sp, x2
	mov	x29, xzr
	mov	x30, xzr
	cbz	x0, {main}
	b	{main_next}

	.ltorg

/*
 * x0: an address to load from. Returns 1, or 0 if it cannot be loaded from. The vectors know the
 * instruction; they may use the registers that a function may.
 */
	.text
	.globl	probe_peek
probe_peek:
	mov	x1, x0
	mov	x0, #1
probe_peek_load:
	ldr	x1, [x1]
	ret
probe_peek_failed:
	mov	x0, xzr
	ret

	.balign	2048
vectors:
	.set	vector, 0
	.rept	16
	.balign	128
	.if	vector == 4
	mrs	x9, elr_el2
	adr	x10, probe_peek_load
	cmp	x9, x10
	b.eq	skip_peek
	.endif
	mov	x0, #vector
	b	{exception}
	.set	vector, vector + 1
	.endr

skip_peek:
	adr	x10, probe_peek_failed
	msr	elr_el2, x10
	eret

/* Blocks of 1 GiB: devices in the first, memory above. */
	.section .rodata.root_table, "a"
	.balign	4096
root_table:
	.quad	{DEVICE}
	.set	block, 1 << 30
	.rept	3
	.quad	block + {MEMORY}
	.set	block, block + (1 << 30)
	.endr
	.fill	508, 8, 0

	.section .bss.stacks, "aw", @nobits
	.balign	4096
stacks:
	.space	{CPUS} << {STACK_SHIFT}
