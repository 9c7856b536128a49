/* SPDX-License-Identifier: GPL-2.0 */
/* C for Rust; rust/ffi.rs has the same list. */
#ifndef KVM_ARM_RMI_HELPERS_H
#define KVM_ARM_RMI_HELPERS_H

#include <linux/types.h>

struct dentry;
struct page;
struct seq_file;

/**
 * struct kvm_rmi_file - a file in debugfs, by what Rust does for it
 * @show: prints the contents, or NULL
 * @store: takes the word that was written, or NULL
 */
struct kvm_rmi_file {
	int (*show)(const struct kvm_rmi_file *file, struct seq_file *seq);
	int (*store)(const struct kvm_rmi_file *file, const char *word);
};

extern unsigned int kvm_rmi_cap;

phys_addr_t kvm_rmi_helper_page_to_phys(struct page *page);
struct page *kvm_rmi_helper_phys_to_page(phys_addr_t phys);
void kvm_rmi_helper_cond_resched(void);
u64 kvm_rmi_helper_id_aa64pfr0_rme(void);

void kvm_rmi_helper_debugfs_create_file(struct kvm_rmi_file *file,
					const char *name,
					struct dentry *parent);

#endif /* KVM_ARM_RMI_HELPERS_H */
