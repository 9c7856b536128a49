// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions that the kernel crate of Linux 6.12 does not have for Rust;
 * bindings.rs beside this file declares them.
 */

#include <linux/module.h>
#include <linux/srcu.h>
#include <linux/xarray.h>

#include "helpers.h"

/* Where newer kernels name the module that a symbol is for. */
MODULE_IMPORT_NS(KVM_ARM_RMI);

int kvm_rmi_6_12_srcu_read_lock(struct srcu_struct *srcu)
{
	return srcu_read_lock(srcu);
}

void kvm_rmi_6_12_srcu_read_unlock(struct srcu_struct *srcu, int index)
{
	srcu_read_unlock(srcu, index);
}

void kvm_rmi_6_12_xa_init_flags(struct xarray *xa, gfp_t flags)
{
	xa_init_flags(xa, flags);
}

void kvm_rmi_6_12_xa_lock(struct xarray *xa)
{
	xa_lock(xa);
}

void kvm_rmi_6_12_xa_unlock(struct xarray *xa)
{
	xa_unlock(xa);
}
