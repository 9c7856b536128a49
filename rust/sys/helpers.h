/* SPDX-License-Identifier: GPL-2.0 */
/* C for Rust; rust/sys/ffi.rs has the same list. */
#ifndef KVM_ARM_RMI_HELPERS_H
#define KVM_ARM_RMI_HELPERS_H

#include <linux/types.h>

struct dentry;
struct kvm;
struct kvm_memory_slot;
struct kvm_vcpu;
struct mutex;
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

typedef int (*kvm_rmi_visit_ram)(unsigned long pfn, unsigned long nr_pages,
				 void *arg);
typedef int (*kvm_rmi_visit_slot)(struct kvm_memory_slot *slot, void *arg);

extern bool kvm_rmi_enabled;
extern unsigned int kvm_rmi_cap;
extern bool kvm_rmi_force_cap;
extern unsigned int kvm_rmi_gmem_attributes_cap;
extern bool kvm_rmi_vm_type_alias;
extern unsigned int kvm_rmi_fault_around;
extern bool kvm_rmi_fault_adaptive;

phys_addr_t kvm_rmi_helper_page_to_phys(struct page *page);
void *kvm_rmi_helper_page_address(struct page *page);
bool kvm_rmi_helper_is_bad(phys_addr_t phys);
phys_addr_t kvm_rmi_helper_next_online(phys_addr_t phys, phys_addr_t end);
void kvm_rmi_helper_put_pages(phys_addr_t phys, u64 pages, bool dirty);
bool kvm_rmi_helper_get_pages(phys_addr_t phys, u64 pages);
void kvm_rmi_helper_cond_resched(void);
bool kvm_rmi_helper_signal_pending(void);
u64 kvm_rmi_helper_id_aa64pfr0_rme(void);
unsigned int kvm_rmi_helper_vmid_bits(void);
bool kvm_rmi_helper_claim_sea(void);
bool kvm_rmi_helper_is_kdump_kernel(void);
bool kvm_rmi_helper_is_kernel_in_hyp_mode(void);
bool kvm_rmi_helper_is_kvm_arm_initialised(void);
void kvm_rmi_helper_set_dump(phys_addr_t list);
int kvm_rmi_helper_forbid_takeover(void);
void kvm_rmi_helper_allow_takeover(void);
void kvm_rmi_helper_stay_loaded(void);

/* rust/sys/kvm_helpers.c */
void kvm_rmi_helper_mmu_read_lock(struct kvm *kvm);
void kvm_rmi_helper_mmu_read_unlock(struct kvm *kvm);
void kvm_rmi_helper_mmu_write_lock(struct kvm *kvm);
void kvm_rmi_helper_mmu_write_unlock(struct kvm *kvm);
void kvm_rmi_helper_mmu_assert_read(struct kvm *kvm);
void kvm_rmi_helper_mmu_assert_write(struct kvm *kvm);
unsigned long kvm_rmi_helper_mmu_invalidate_seq(struct kvm *kvm);
bool kvm_rmi_helper_mmu_invalidate_retry(struct kvm *kvm, unsigned long seq,
					 u64 start, u64 end);
bool kvm_rmi_helper_mem_is_private(struct kvm *kvm, u64 gfn);
struct kvm_memory_slot *kvm_rmi_helper_gfn_to_memslot(struct kvm *kvm, u64 gfn);
struct kvm_memory_slot *kvm_rmi_helper_first_memslot(struct kvm *kvm, u64 start,
						     u64 end);
int kvm_rmi_helper_get_present_pages(const struct kvm_memory_slot *slot,
				     u64 gfn, int wanted, bool writable,
				     struct page **pages);
void kvm_rmi_helper_release_page(struct page *page, bool dirty);
int kvm_rmi_helper_walk_memslots(struct kvm *kvm, void *arg,
				 kvm_rmi_visit_slot fn);
int kvm_rmi_helper_lock_slots_interruptible(struct kvm *kvm);
struct kvm_vcpu *kvm_rmi_helper_get_vcpu(struct kvm *kvm, int index);
struct kvm_vcpu *kvm_rmi_helper_get_vcpu_by_id(struct kvm *kvm, int id);
bool kvm_rmi_helper_trylock_vcpu(struct kvm_vcpu *vcpu, struct mutex *nest);
bool kvm_rmi_helper_vcpu_is_initialized(struct kvm_vcpu *vcpu);
bool kvm_rmi_helper_vcpu_is_finalized(struct kvm_vcpu *vcpu);
bool kvm_rmi_helper_vcpu_has_psci_0_2(struct kvm_vcpu *vcpu);
u32 kvm_rmi_helper_vcpu_sve_vq(struct kvm_vcpu *vcpu);
bool kvm_rmi_helper_sve_vq_available(u32 vq);
bool kvm_rmi_helper_vcpu_has_pmu(struct kvm_vcpu *vcpu);
u8 kvm_rmi_helper_nr_pmu_counters(struct kvm *kvm);
u64 kvm_rmi_helper_vcpu_read_pmcr(struct kvm_vcpu *vcpu);
u64 kvm_rmi_helper_vcpu_mpidr_aff(struct kvm_vcpu *vcpu);
void kvm_rmi_helper_prepare_memory_fault_exit(struct kvm_vcpu *vcpu, u64 gpa,
					      u64 size, bool is_private);
void kvm_rmi_helper_vm_dead(struct kvm *kvm);

/* rust/sys/hotplug.c */
int kvm_rmi_helper_watch_ram(void *arg, kvm_rmi_visit_ram coming,
			     kvm_rmi_visit_ram going);
void kvm_rmi_helper_unwatch_ram(void);

/* rust/sys/selftest.c */
int kvm_rmi_helper_add_memory(u64 base, u64 size);
bool kvm_rmi_helper_loads_zeroes_from(phys_addr_t edge);

/* rust/sys/debugfs.c */
void kvm_rmi_helper_debugfs_create_file(struct kvm_rmi_file *file,
					const char *name,
					struct dentry *parent);

#endif /* KVM_ARM_RMI_HELPERS_H */
