/* SPDX-License-Identifier: GPL-2.0 */
/* C for Rust; rust/ffi.rs has the same list. */
#ifndef KVM_ARM_RMI_HELPERS_H
#define KVM_ARM_RMI_HELPERS_H

#include <linux/types.h>

struct page;

extern unsigned int kvm_rmi_cap;

phys_addr_t kvm_rmi_helper_page_to_phys(struct page *page);
struct page *kvm_rmi_helper_phys_to_page(phys_addr_t phys);
void kvm_rmi_helper_cond_resched(void);
u64 kvm_rmi_helper_id_aa64pfr0_rme(void);

#endif /* KVM_ARM_RMI_HELPERS_H */
