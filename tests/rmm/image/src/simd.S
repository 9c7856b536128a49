/* SPDX-License-Identifier: GPL-2.0 */

/*
 * The floating-point and SVE registers, all at once.
 *
 * An area has three parts: Z0 to Z15, Z16 to Z31, and P0 to P15 with FFR after them. Registers follow
 * each other at the distance of their length. Without SVE, the first part holds Q0 to Q31.
 */

	.arch_extension	fp
	.arch_extension	simd
	.arch_extension	sve

	.macro	q_registers op
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	\op	q\n, [x0, #(\n * 16)]
	.endr
	.irp	n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	\op	q\n, [x0, #(\n * 16)]
	.endr
	.endm

	.macro	z_registers op
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	\op	z\n, [x0, #\n, mul vl]
	.endr
	.irp	n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	\op	z\n, [x1, #(\n - 16), mul vl]
	.endr
	.endm

	.macro	p_registers op
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	\op	p\n, [x2, #\n, mul vl]
	.endr
	.endm

	.text

/* Returns the length of a vector in bytes. */
	.globl	sve_length
sve_length:
	rdvl	x0, #1
	ret

/* x0: the first part. */
	.globl	fp_save
fp_save:
	q_registers str
	ret

	.globl	fp_load
fp_load:
	q_registers ldr
	ret

/* x0, x1, x2: the three parts. x3: 0 if FFR does not exist in the mode that the CPU is in. */
	.globl	sve_save
sve_save:
	z_registers str
	p_registers str
	cbz	x3, 1f
	rdffr	p0.b
	str	p0, [x2, #16, mul vl]
	ldr	p0, [x2, #0, mul vl]
1:	ret

	.globl	sve_load
sve_load:
	z_registers ldr
	cbz	x3, 1f
	ldr	p0, [x2, #16, mul vl]
	wrffr	p0.b
1:	p_registers ldr
	ret
