# SPDX-License-Identifier: GPL-2.0
#
# For people. The kernel's build reads Kbuild and never this file.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kvm_arm_rmi

# One's own settings, one "NAME = value" a line; not part of the repository.
-include local.mk

export CACHE
export $(filter KERNEL KDIR FIRMWARE RMM RMI PLATFORM FVP VMM CROSS_COMPILE LLVM QEMU SMP MEM GUEST CPUS MEMORY BENCH_JSON,$(.VARIABLES))

.PHONY: help run shell test bench doctor kernel module deb firmware rmm fmt lint clean

help:
	@echo 'make run       boot a Linux host under QEMU, and Linux in a realm on it; builds what is missing'
	@echo 'make shell     the same host, with a prompt'
	@echo 'make test      everything that has to pass'
	@echo 'make bench     what a realm costs, phase by phase (tests/bench/README.md)'
	@echo 'make doctor    show what is there and what is missing; changes nothing'
	@echo
	@echo 'make kernel    the patched kernel            make firmware  TF-A with the RMM'
	@echo 'make module    the component as a module     make rmm       our RMM image'
	@echo 'make deb       Debian packages of the kernel with the module, its headers, and the tools'
	@echo 'make fmt       format the Rust sources       make lint      format and lints'
	@echo 'make clean     remove what was built (downloads and bindgen stay)'
	@echo
	@echo 'Variables (make run NAME=value, or in local.mk):'
	@echo '  CACHE          everything that is downloaded and built: $(CACHE)'
	@echo '  CONFIG         of make kernel and make deb: plain, debug, fleet, hardened, kcsan or debian'
	@echo '  KERNEL         the kernel of the host: 7.3 (default) or 6.12, Debian 13'"'"'s'
	@echo '  KDIR           your own tree of Linux 7.3 or 6.12: patched or not, configured or not'
	@echo '  FIRMWARE       a flash image to boot instead of ours, such as TF-A with TF-RMM'
	@echo '  RMM            an RMM image for our TF-A instead of ours'
	@echo '  RMI            of make run and make shell: what our RMM speaks, 2.0 (default) or 1.0'
	@echo '  PLATFORM       of make run and make firmware: qemu, or fvp, for which FVP names the model (untried)'
	@echo '  CROSS_COMPILE  prefix of the arm64 gcc for TF-A (aarch64-linux-gnu-)'
	@echo '  LLVM           as for the kernel: -19 (default), a version suffix or a directory/'
	@echo '  QEMU           qemu-system-aarch64 to use; 9 or later'
	@echo '  BENCH_JSON     a file for what make bench has measured'
	@echo '  GUEST          kernel of the realm: own (default; the host runs the same), debian'
	@echo '  VMM            a static qemu-system-aarch64 for arm64, to make the realm instead of our VMM'
	@echo '  CPUS, MEMORY   vCPUs (2) and MiB of memory (256) of the realm that make run shows'
	@echo '  SMP, MEM       CPUs (2) and MiB of memory (2048, at most 3072) of the host'

run:
	@scripts/run

shell:
	@scripts/run shell

test:
	@scripts/test

bench:
	@scripts/bench

doctor:
	@scripts/doctor

kernel: setup-rust-kernel
	@scripts/kernel/build $(or $(CONFIG),plain) none

deb: setup-rust-kernel-firmware-deb
	@scripts/deb $(or $(CONFIG),fleet)

module: setup-rust-kernel
	@scripts/kernel/module plain

firmware: setup-rust-kernel-firmware
	@scripts/firmware

rmm: setup-rust-kernel
	@scripts/rmm

fmt: setup-rust
	@. scripts/lib.sh && . scripts/toolchain.sh && "$$CARGO_FMT" fmt --all && \
		"$$RUSTFMT" --edition 2021 rust/main.rs

lint: setup-rust-kernel
	@scripts/lint && scripts/lint --kernel

clean:
	@scripts/clean

# setup-GROUP-GROUP: the packages of these groups (scripts/packages)
.PHONY: FORCE
setup-%: FORCE
	@scripts/setup base $(subst -, ,$*)
