// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot reach of KVM: macros and inline functions. Each helper is
 * named after what it wraps; none decides anything.
 */

#include <linux/bitfield.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include <asm/kvm_emulate.h>

#include <kvm/arm_pmu.h>

#include "helpers.h"

void kvm_rmi_helper_mmu_read_lock(struct kvm *kvm)
{
	read_lock(&kvm->mmu_lock);
}

void kvm_rmi_helper_mmu_read_unlock(struct kvm *kvm)
{
	read_unlock(&kvm->mmu_lock);
}

void kvm_rmi_helper_mmu_write_lock(struct kvm *kvm)
{
	write_lock(&kvm->mmu_lock);
}

void kvm_rmi_helper_mmu_write_unlock(struct kvm *kvm)
{
	write_unlock(&kvm->mmu_lock);
}

void kvm_rmi_helper_mmu_assert_read(struct kvm *kvm)
{
	lockdep_assert_held_read(&kvm->mmu_lock);
}

void kvm_rmi_helper_mmu_assert_write(struct kvm *kvm)
{
	lockdep_assert_held_write(&kvm->mmu_lock);
}

unsigned long kvm_rmi_helper_mmu_invalidate_seq(struct kvm *kvm)
{
	unsigned long seq = kvm->mmu_invalidate_seq;

	/* Pairs with the smp_wmb() in kvm_mmu_invalidate_end(). */
	smp_rmb();

	return seq;
}

bool kvm_rmi_helper_mmu_invalidate_retry(struct kvm *kvm, unsigned long seq,
					 u64 start, u64 end)
{
	lockdep_assert_held(&kvm->mmu_lock);

	if (kvm->mmu_invalidate_in_progress &&
	    start < kvm->mmu_invalidate_range_end &&
	    end > kvm->mmu_invalidate_range_start)
		return true;

	return kvm->mmu_invalidate_seq != seq;
}

bool kvm_rmi_helper_mem_is_private(struct kvm *kvm, u64 gfn)
{
	return kvm_mem_is_private(kvm, gfn);
}

struct kvm_memory_slot *kvm_rmi_helper_gfn_to_memslot(struct kvm *kvm, u64 gfn)
{
	return gfn_to_memslot(kvm, gfn);
}

struct kvm_memory_slot *kvm_rmi_helper_first_memslot(struct kvm *kvm, u64 start,
						     u64 end)
{
	struct kvm_memslots *slots = kvm_memslots(kvm);
	struct kvm_memslot_iter iter;

	kvm_for_each_memslot_in_gfn_range(&iter, slots, start, end) {
		/* The iteration may begin with a slot that ends before. */
		if (iter.slot->base_gfn + iter.slot->npages > start)
			return iter.slot;
	}

	return NULL;
}

int kvm_rmi_helper_get_present_pages(const struct kvm_memory_slot *slot,
				     u64 gfn, int wanted, bool writable,
				     struct page **pages)
{
	return get_user_pages_fast_only(__gfn_to_hva_memslot(slot, gfn), wanted,
					writable ? FOLL_WRITE : 0, pages);
}

/* As kvm_release_page_dirty() and kvm_release_page_clean(). */
void kvm_rmi_helper_release_page(struct page *page, bool dirty)
{
	if (!PageReserved(page)) {
		if (dirty)
			SetPageDirty(page);
		mark_page_accessed(page);
	}
	put_page(page);
}

int kvm_rmi_helper_walk_memslots(struct kvm *kvm, void *arg,
				 kvm_rmi_visit_slot fn)
{
	struct kvm_memslots *slots = kvm_memslots(kvm);
	struct kvm_memslot_iter iter;
	int ret;

	/* By address: by number they are in a hash table, most of which is empty. */
	kvm_for_each_memslot_in_gfn_range(&iter, slots, 0, ULONG_MAX) {
		ret = fn(iter.slot, arg);
		if (ret)
			return ret;
	}

	return 0;
}

int kvm_rmi_helper_lock_slots_interruptible(struct kvm *kvm)
{
	return mutex_lock_interruptible(&kvm->slots_lock);
}

struct kvm_vcpu *kvm_rmi_helper_get_vcpu(struct kvm *kvm, int index)
{
	return kvm_get_vcpu(kvm, index);
}

struct kvm_vcpu *kvm_rmi_helper_get_vcpu_by_id(struct kvm *kvm, int id)
{
	return kvm_get_vcpu_by_id(kvm, id);
}

bool kvm_rmi_helper_trylock_vcpu(struct kvm_vcpu *vcpu, struct mutex *nest)
{
#ifdef mutex_trylock_nest_lock
	return mutex_trylock_nest_lock(&vcpu->mutex, nest);
#else
	/* Linux 6.12 cannot tell lockdep that there may be many. */
	return mutex_trylock(&vcpu->mutex);
#endif
}

bool kvm_rmi_helper_vcpu_is_initialized(struct kvm_vcpu *vcpu)
{
	return kvm_vcpu_initialized(vcpu);
}

bool kvm_rmi_helper_vcpu_is_finalized(struct kvm_vcpu *vcpu)
{
	return !vcpu_has_sve(vcpu) || vcpu_get_flag(vcpu, VCPU_SVE_FINALIZED);
}

bool kvm_rmi_helper_vcpu_has_psci_0_2(struct kvm_vcpu *vcpu)
{
	return vcpu_has_feature(vcpu, KVM_ARM_VCPU_PSCI_0_2);
}

u32 kvm_rmi_helper_vcpu_sve_vq(struct kvm_vcpu *vcpu)
{
	return vcpu_has_sve(vcpu) ? sve_vq_from_vl(vcpu->arch.sve_max_vl) : 0;
}

bool kvm_rmi_helper_sve_vq_available(u32 vq)
{
	return sve_vq_available(vq);
}

bool kvm_rmi_helper_vcpu_has_pmu(struct kvm_vcpu *vcpu)
{
	return kvm_vcpu_has_pmu(vcpu);
}

u8 kvm_rmi_helper_nr_pmu_counters(struct kvm *kvm)
{
	return READ_ONCE(kvm->arch.nr_pmu_counters);
}

u64 kvm_rmi_helper_vcpu_read_pmcr(struct kvm_vcpu *vcpu)
{
	return u64_replace_bits(__vcpu_sys_reg(vcpu, PMCR_EL0),
				kvm_rmi_helper_nr_pmu_counters(vcpu->kvm),
				ARMV8_PMU_PMCR_N);
}

u64 kvm_rmi_helper_vcpu_mpidr_aff(struct kvm_vcpu *vcpu)
{
	return kvm_vcpu_get_mpidr_aff(vcpu);
}

void kvm_rmi_helper_prepare_memory_fault_exit(struct kvm_vcpu *vcpu, u64 gpa,
					      u64 size, bool is_private)
{
	kvm_prepare_memory_fault_exit(vcpu, gpa, size, false, false, is_private);
}

void kvm_rmi_helper_vm_dead(struct kvm *kvm)
{
	kvm_vm_dead(kvm);
}
