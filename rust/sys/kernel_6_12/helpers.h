/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KVM_ARM_RMI_6_12_HELPERS_H
#define KVM_ARM_RMI_6_12_HELPERS_H

#include <linux/gfp_types.h>
#include <linux/types.h>

struct srcu_struct;
struct xarray;

int kvm_rmi_6_12_srcu_read_lock(struct srcu_struct *srcu);
void kvm_rmi_6_12_srcu_read_unlock(struct srcu_struct *srcu, int index);
void kvm_rmi_6_12_xa_init_flags(struct xarray *xa, gfp_t flags);
void kvm_rmi_6_12_xa_lock(struct xarray *xa);
void kvm_rmi_6_12_xa_unlock(struct xarray *xa);

void rust_do_trace_rmi_call(u32 fid, const char *name, u32 len, u64 realm,
			    u64 x1, u64 x2, u64 x3, u64 result);
void rust_do_trace_rec_enter(u64 realm, int vcpu);
void rust_do_trace_rec_exit(u64 realm, int vcpu, u64 result, u32 reason, u64 esr);
void rust_do_trace_realm_map(u64 realm, bool private, u64 start, u64 end,
			     u64 pages);
void rust_do_trace_realm_unmap(u64 realm, bool private, u64 start, u64 end,
			       u64 pages);

#endif /* KVM_ARM_RMI_6_12_HELPERS_H */
