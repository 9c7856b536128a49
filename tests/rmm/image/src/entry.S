// SPDX-License-Identifier: GPL-2.0

/*
 * The way into the RMM, and the way out of what it does not expect.
 *
 * EL3 enters at rmm_entry, at EL2 in Realm state with the MMU off and everything masked: once on
 * the first CPU, and whenever a CPU is powered up after that. The tables below map the image, so
 * that the MMU and the caches are on before anything is written and before any Rust code runs.
 *
 * x0 to x3: boot arguments. x8 to x12: scratch.
 */

	.section .head, "ax"
	.globl	rmm_entry
rmm_entry:
	/* Elsewhere than at its link address, nothing below would work. */
	mov	x12, #{E_UNKNOWN}
	adr	x8, rmm_entry
	ldr	x9, =rmm_entry
	cmp	x8, x9
	b.ne	boot_failed

	/* The CPU's number selects its stack. */
	mov	x12, #{E_CPU_ID}
	cmp	x0, #{MAX_CPUS}
	b.hs	boot_failed
	msr	tpidr_el2, x0

	/* EL2 with the host extensions; floating point traps, because nothing here uses it. */
	ldr	x9, ={HCR}
	msr	hcr_el2, x9
	isb
	msr	cptr_el2, xzr
	ldr	x9, =vectors
	msr	vbar_el2, x9

	ldr	x9, ={MAIR}
	msr	mair_el2, x9
	ldr	x9, ={TCR}
	msr	tcr_el2, x9
	ldr	x9, =rmm_root_table
	msr	ttbr0_el2, x9
	isb
	tlbi	alle2
	ic	iallu
	dsb	nsh
	isb
	ldr	x9, ={SCTLR}
	msr	sctlr_el2, x9
	isb

	ldr	x9, ={STACKS}
	add	x9, x9, x0, lsl #{STACK_SLOT_SHIFT}
	add	x9, x9, #{STACK_TOP}
	mov	sp, x9
	mov	x29, xzr
	mov	x30, xzr

	ldr	x9, =first_boot
	ldr	x10, [x9]
	cbz	x10, {warm_boot}
	str	xzr, [x9]

	ldr	x9, =__bss_start
	ldr	x10, =__bss_end
1:	cmp	x9, x10
	b.hs	2f
	stp	xzr, xzr, [x9], #16
	b	1b
2:	b	{cold_boot}

/* Reports the error in x12. EL3 does not come back. */
boot_failed:
	ldr	x0, ={BOOT_COMPLETE}
	mov	x1, x12
	smc	#0
3:	wfe
	b	3b

	.ltorg

/*
 * Exceptions from lower exception levels end the run of a realm (realm.S).
 *
 * From the RMM itself no exception is expected. All of them are reported, on a stack of their own, in
 * case the stack is what went wrong. Nothing is saved: nothing returns.
 */
	.balign	2048
vectors:
	.set	vector, 0
	.rept	8
	.balign	128
	mov	x0, #vector
	b	report
	.set	vector, vector + 1
	.endr
	.rept	8
	.balign	128
	stp	x0, x1, [sp, #-16]!
	mov	x0, #(vector & 3)
	b	realm_exit
	.set	vector, vector + 1
	.endr

report:
	mov	x1, sp
	mrs	x8, tpidr_el2
	ldr	x9, ={STACKS}
	add	x8, x8, #1
	add	x9, x9, x8, lsl #{STACK_SLOT_SHIFT}
	mov	sp, x9
	mov	x29, xzr
	mov	x30, xzr
	b	{exception}

	.ltorg

/* Not 0 until the first CPU has been here. */
	.section .data.first_boot, "aw"
	.balign	8
first_boot:
	.quad	1

/*
 * The tables. The first of them is extended at boot (memory.rs); the others stay as they are.
 */
	.macro	map from, to, step, attributes
	.set	pa, \from
	.rept	(\to - \from) / \step
	.quad	pa + \attributes
	.set	pa, pa + \step
	.endr
	.endm

	.section .data.tables, "aw"
	.balign	4096
	.globl	rmm_root_table
rmm_root_table:
	.fill	{BASE} >> 30, 8, 0
	.quad	early_level2 + {TABLE}
	.fill	511 - ({BASE} >> 30), 8, 0

early_level2:
	.fill	({BASE} >> 21) & 511, 8, 0
	.quad	early_image + {TABLE}
	.quad	early_stacks + {TABLE}
	.quad	early_stacks + (1 << 12) + {TABLE}
	map	{BSS}, {BSS_END}, (1 << 21), {BLOCK_RW}
	.balign	4096

early_image:
	.fill	({BASE} >> 12) & 511, 8, 0
	map	{TEXT}, {RODATA}, (1 << 12), {PAGE_RX}
	map	{RODATA}, {DATA}, (1 << 12), {PAGE_RO}
	map	{DATA}, {STACKS}, (1 << 12), {PAGE_RW}

early_stacks:
	.set	slot, {STACKS}
	.rept	{MAX_CPUS}
	.quad	0
	map	(slot + (1 << 12)), (slot + {STACK_TOP}), (1 << 12), {PAGE_RW}
	.quad	0
	.quad	slot + {STACK_TOP} + (1 << 12) + {PAGE_RW}
	.set	slot, slot + (1 << {STACK_SLOT_SHIFT})
	.endr
