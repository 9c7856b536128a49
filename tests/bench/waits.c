// SPDX-License-Identifier: GPL-2.0
/*
 * How long the kernel's CPUs wait for locks: a part of the plugin, for machines with several CPUs.
 *
 *	wait=NAME:START-END	where the kernel has a function in which it waits, in hexadecimal
 *
 * A wait begins with the function's first instruction and ends where it returns; those inside of another,
 * on the same stack, are a part of that. For each phase it writes "elapsed TIME", and for each function
 * "wait NAME TIMES TIME", which may be in another task's time as well.
 *
 * Time is what a CPU could have executed meanwhile. QEMU has all CPUs that are at work execute as many
 * instructions by turns (-icount), while one that waits passes its turn on. So a CPU's time is the
 * instructions of all CPUs, but for those of these functions, by the number of CPUs at work: how many the
 * phase has less those that wait.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"
#include "waits.h"

/* ret, and ret with an address that is authenticated */
#define RET	0xd65f03c0u
#define RETAA	0xd65f0bffu
/* b, with where to in words */
#define B(word)	((word) >> 26 == 5)

/* log2 of what a stack of the kernel is aligned to */
#define STACK_SHIFT	14

struct function {
	char name[64];
	uint64_t start, end;
	uint64_t times, time;
};

static struct function functions[16];
static size_t n_functions;

/* Tasks that wait, by their stacks, and since when. */
static struct {
	uint64_t stack, since;
	struct function *in;
} waiting[256];
static uint64_t n_waiting;

/* Instructions of all CPUs that do not wait, and those of the kernel. */
static uint64_t work, of_kernel;
/* The former as of the last look, and the time. */
static uint64_t seen, now, at_work = 1;
static bool in_phase;

bool waits_option(const char *option)
{
	struct function *f = &functions[n_functions];

	if (n_functions == sizeof(functions) / sizeof(functions[0]) ||
	    sscanf(option, "%63[^:]:%" SCNx64 "-%" SCNx64, f->name, &f->start, &f->end) != 3)
		return false;
	n_functions++;
	return true;
}

bool waits_wanted(void)
{
	return n_functions;
}

uint64_t waits_of_kernel(void)
{
	return of_kernel;
}

static void look(void)
{
	now += (work - seen) / (at_work > n_waiting ? at_work - n_waiting : 1);
	seen = work;
}

static size_t find(uint64_t stack)
{
	size_t n;

	for (n = 0; n < sizeof(waiting) / sizeof(waiting[0]); n++)
		if (waiting[n].stack == stack)
			return n;
	fprintf(stderr, "instructions: too many tasks wait\n");
	abort();
}

static void called(unsigned int cpu, void *function)
{
	uint64_t stack = read_register(SP) >> STACK_SHIFT;
	size_t n;

	if (!in_phase)
		return;
	for (n = 0; n < sizeof(waiting) / sizeof(waiting[0]); n++)
		if (waiting[n].stack == stack)
			return;
	look();
	n = find(0);
	waiting[n].stack = stack;
	waiting[n].since = now;
	waiting[n].in = function;
	n_waiting++;
}

static void returns(unsigned int cpu, void *function)
{
	uint64_t stack = read_register(SP) >> STACK_SHIFT;
	struct function *f = function;
	size_t n;

	if (!in_phase)
		return;
	for (n = 0; n < sizeof(waiting) / sizeof(waiting[0]); n++) {
		if (waiting[n].stack != stack || waiting[n].in != f)
			continue;
		look();
		f->times++;
		f->time += now - waiting[n].since;
		waiting[n].stack = 0;
		n_waiting--;
	}
}

void waits_begin(uint64_t cpus)
{
	size_t n;

	if (!n_functions)
		return;
	for (n = 0; n < n_functions; n++)
		functions[n].times = functions[n].time = 0;
	memset(waiting, 0, sizeof(waiting));
	n_waiting = now = 0;
	seen = work;
	at_work = cpus;
	in_phase = true;
}

void waits_end(FILE *out)
{
	size_t n;

	if (!n_functions)
		return;
	look();
	in_phase = false;
	fprintf(out, "elapsed %" PRIu64 "\n", now);
	for (n = 0; n < n_functions; n++)
		if (functions[n].times)
			fprintf(out, "wait %s %" PRIu64 " %" PRIu64 "\n", functions[n].name,
				functions[n].times, functions[n].time);
}

static void other_block(unsigned int cpu, void *instructions)
{
	work += (uintptr_t)instructions;
}

static void kernel_block(unsigned int cpu, void *instructions)
{
	work += (uintptr_t)instructions;
	of_kernel += (uintptr_t)instructions;
}

static void waiting_block(unsigned int cpu, void *instructions)
{
	of_kernel += (uintptr_t)instructions;
}

/*
 * A call for each block: QEMU 10.0 does not count inline where CPUs execute by turns. It writes to what it
 * takes for the constant of the CPU's number, and whatever else has that constant in the block goes wrong.
 * (A block may be left in its middle, which is rare in the kernel.)
 */
void waits_block(struct qemu_plugin_tb *tb, bool kernel)
{
	uint64_t at = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
	uintptr_t instructions = qemu_plugin_tb_n_insns(tb);
	void (*of)(unsigned int cpu, void *instructions) = kernel ? kernel_block : other_block;
	struct function *f;

	for (f = functions; f < functions + n_functions; f++)
		if (at >= f->start && at < f->end)
			of = waiting_block;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, of, NO_REGISTERS, (void *)instructions);
}

void waits_instruction(struct qemu_plugin_insn *insn, uint64_t at, uint32_t word)
{
	struct function *f;
	uint64_t to = at;

	for (f = functions; f < functions + n_functions; f++) {
		if (at < f->start || at >= f->end)
			continue;
		/* A jump out of it is the end as well: whatever it leads to returns to the caller. */
		if (B(word))
			to += (uint64_t)((int64_t)((uint64_t)word << 38) >> 36);
		if (at == f->start)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, called, READS_REGISTERS, f);
		else if (word == RET || word == RETAA || to < f->start || to >= f->end)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, returns, READS_REGISTERS, f);
	}
}
