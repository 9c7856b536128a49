/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The two parts of the plugin: instructions.c calls what begins with "waits_", see waits.c.
 */

#ifndef WAITS_H
#define WAITS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct qemu_plugin_insn;
struct qemu_plugin_tb;

/* Registers that are read: x0 to x2, and the stack pointer. */
enum reg { X0, X1, X2, SP, REGISTERS };

/* The value of a register of the CPU that runs, in a callback that may read registers. */
uint64_t read_register(enum reg reg);

/* What follows "wait=". False if it makes no sense. */
bool waits_option(const char *option);
/* A phase begins, in which so many CPUs are at work; and ends. */
void waits_begin(uint64_t cpus);
void waits_end(FILE *out);
/* True if there are waits to look at: several CPUs. Then it also counts the kernel's instructions. */
bool waits_wanted(void);
uint64_t waits_of_kernel(void);
/* A block is translated, and an instruction of the kernel. */
void waits_block(struct qemu_plugin_tb *tb, bool kernel);
void waits_instruction(struct qemu_plugin_insn *insn, uint64_t at, uint32_t word);

#endif
