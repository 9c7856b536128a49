// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU: for each phase of `rmi-client realm bench`, in their order, writes the SMCs of the
 * host's kernel, one a line ("smc" and x0 to x2), the longest time that a lock was held for writing
 * ("hold"), and then how many instructions the kernel took. Times are in instructions, too.
 *
 *	qemu-system-aarch64 -plugin instructions.so,out=FILE,lock=ADDRESS,unlock=ADDRESS -icount ...
 *
 * The addresses are those of _raw_write_lock() and _raw_write_unlock() in a kernel that has not moved
 * (nokaslr). A hold begins with the call of the one and ends with that of the other, for the same lock.
 * With a single CPU nobody waits in between, and nobody else runs but interrupts. Several CPUs wait for
 * each other: waits.c has that. With -icount one thread of QEMU's runs all of them, and all that is here.
 *
 * The client marks where a phase begins and ends by instructions without effect. The kernel and its
 * modules are what runs where it has its image and vmalloc area. User space, EL3, the embedded RMM
 * and the guest of the benchmark run in the lower half of the address space; TF-RMM runs at the very
 * top of the upper half.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"
#include "waits.h"

QEMU_EXPORT int qemu_plugin_version = API_VERSION;

/* movz xzr, #0xb001 and #0xb002: see tests/client/src/realm/bench/phase.rs */
#define MOVZ_XZR(imm)	(0xd280001fu | (imm) << 5)
#define BEGIN		MOVZ_XZR(0xb001u)
#define END		MOVZ_XZR(0xb002u)
/* smc #0 */
#define SMC		0xd4000003u

#define KERNEL_START	0xffff800000000000ull
#define KERNEL_END	0xffffff8000000000ull

static FILE *out;
static qemu_plugin_u64 executed;
static uint64_t at_begin;
static bool in_phase;

static uint64_t lock_at, unlock_at;
/* Locks that are held for writing, by their addresses, and since when. */
static struct {
	uint64_t lock, since;
} held[16];
static uint64_t longest;

static struct qemu_plugin_register *registers[REGISTERS];
static GByteArray *value;

static void started(qemu_plugin_id_t id, unsigned int cpu)
{
	GArray *all = qemu_plugin_get_registers();
	qemu_plugin_reg_descriptor *one = (void *)all->data;
	unsigned int n;

	for (n = 0; n < all->len; n++) {
		const char *name = one[n].name;

		if (name[0] == 'x' && name[1] >= '0' && name[1] <= '2' && !name[2])
			registers[X0 + name[1] - '0'] = one[n].handle;
		else if (!strcmp(name, "sp"))
			registers[SP] = one[n].handle;
	}
	if (!value)
		value = g_byte_array_new();
}

uint64_t read_register(enum reg reg)
{
	uint64_t x = 0;

	g_byte_array_set_size(value, 0);
	if (registers[reg] && qemu_plugin_read_register(registers[reg], value) == sizeof(x))
		memcpy(&x, value->data, sizeof(x));
	return x;
}

static void smc(unsigned int cpu, void *unused)
{
	if (in_phase)
		fprintf(out, "smc %" PRIx64 " %" PRIx64 " %" PRIx64 "\n",
			read_register(X0), read_register(X1), read_register(X2));
}

static void lock(unsigned int cpu, void *unused)
{
	size_t n;

	if (!in_phase)
		return;
	for (n = 0; n < sizeof(held) / sizeof(held[0]); n++) {
		if (held[n].lock)
			continue;
		held[n].lock = read_register(X0);
		held[n].since = qemu_plugin_u64_sum(executed);
		return;
	}
	fprintf(stderr, "instructions: too many locks are held\n");
	abort();
}

static void unlock(unsigned int cpu, void *unused)
{
	uint64_t time, x0;
	size_t n;

	if (!in_phase)
		return;
	x0 = read_register(X0);
	for (n = 0; n < sizeof(held) / sizeof(held[0]); n++) {
		if (held[n].lock != x0)
			continue;
		held[n].lock = 0;
		time = qemu_plugin_u64_sum(executed) - held[n].since;
		if (time > longest)
			longest = time;
	}
}

static uint64_t kernel_instructions(void)
{
	return waits_wanted() ? waits_of_kernel() : qemu_plugin_u64_sum(executed);
}

static void begin(unsigned int cpu, void *unused)
{
	in_phase = true;
	memset(held, 0, sizeof(held));
	longest = 0;
	waits_begin(read_register(X0));
	at_begin = kernel_instructions();
}

static void end(unsigned int cpu, void *unused)
{
	in_phase = false;
	if (lock_at)
		fprintf(out, "hold %" PRIu64 "\n", longest);
	waits_end(out);
	fprintf(out, "%" PRIu64 "\n", kernel_instructions() - at_begin);
	fflush(out);
}

/* A block may be left in its middle, so that each instruction counts by itself. */
static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n;

	for (n = 0; n < qemu_plugin_tb_n_insns(tb); n++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, n);
		uint64_t at = qemu_plugin_insn_vaddr(insn);
		bool kernel = at >= KERNEL_START && at < KERNEL_END;
		uint32_t word;

		if (waits_wanted() && !n)
			waits_block(tb, kernel);
		else if (kernel && !waits_wanted())
			qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, ADD_U64,
									    executed, 1);
		if (lock_at && at == lock_at)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, lock, READS_REGISTERS, NULL);
		if (unlock_at && at == unlock_at)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, unlock, READS_REGISTERS, NULL);
		if (qemu_plugin_insn_data(insn, &word, sizeof(word)) != sizeof(word))
			continue;
		if (kernel)
			waits_instruction(insn, at, word);
		if (kernel && word == SMC)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, smc, READS_REGISTERS, NULL);
		else if (!kernel && word == BEGIN)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, READS_REGISTERS, NULL);
		else if (!kernel && word == END)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end, NO_REGISTERS, NULL);
	}
}

QEMU_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	const char *file = NULL;
	int n;

	for (n = 0; n < argc; n++) {
		if (!strncmp(argv[n], "out=", 4))
			file = argv[n] + 4;
		else if (!strncmp(argv[n], "lock=", 5))
			lock_at = strtoull(argv[n] + 5, NULL, 16);
		else if (!strncmp(argv[n], "unlock=", 7))
			unlock_at = strtoull(argv[n] + 7, NULL, 16);
		else if (strncmp(argv[n], "wait=", 5) || !waits_option(argv[n] + 5))
			fprintf(stderr, "instructions: %s?\n", argv[n]);
	}
	if (!file || !lock_at != !unlock_at) {
		fprintf(stderr, "instructions: out=FILE,lock=ADDRESS,unlock=ADDRESS,wait=...\n");
		return -1;
	}
	out = fopen(file, "w");
	if (!out) {
		fprintf(stderr, "instructions: %s: %s\n", file, strerror(errno));
		return -1;
	}
	executed.score = qemu_plugin_scoreboard_new(sizeof(uint64_t));
	qemu_plugin_register_vcpu_init_cb(id, started);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
