// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot reach in C: macros, inline functions, and a module parameter
 * that shows in sysfs. Each helper is named after what it wraps; none decides
 * anything.
 */

#include <linux/acpi.h>
#include <linux/atomic.h>
#include <linux/cpufeature.h>
#include <linux/crash_dump.h>
#include <linux/delay.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>

#include <asm/acpi.h>
#include <asm/kvm_rmi_dump.h>
#include <asm/kvm_rmi_takeover.h>
#include <asm/sysreg.h>
#include <asm/virt.h>

#include "helpers.h"

/* For a host whose RMM does not answer: nothing else keeps us from calling it. */
bool kvm_rmi_enabled = true;
module_param_named(enabled, kvm_rmi_enabled, bool, 0444);
MODULE_PARM_DESC(enabled, "0: stay away from the Realm Management Monitor");

/* KVM_CAP_ARM_RMI has no number upstream yet; see uapi/README.md. */
unsigned int kvm_rmi_cap = 253;
module_param_named(cap, kvm_rmi_cap, uint, 0444);
MODULE_PARM_DESC(cap, "Number of KVM_CAP_ARM_RMI, as the VMMs on this host expect it");

/* As far as KVM on arm64 is concerned that does no harm; see uapi/README.md. */
bool kvm_rmi_force_cap;
module_param_named(force_cap, kvm_rmi_force_cap, bool, 0444);
MODULE_PARM_DESC(force_cap, "Let cap be a number that KVM has for another architecture");

/* KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES has no number upstream yet either. */
unsigned int kvm_rmi_gmem_attributes_cap = 252;
module_param_named(gmem_attributes_cap, kvm_rmi_gmem_attributes_cap, uint, 0444);
MODULE_PARM_DESC(gmem_attributes_cap, "Number of KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES");

/* Bit 8 means nothing to KVM itself; see uapi/README.md. */
bool kvm_rmi_vm_type_alias = true;
module_param_named(vm_type_alias, kvm_rmi_vm_type_alias, bool, 0444);
MODULE_PARM_DESC(vm_type_alias, "Bit 8 of the VM type makes a realm, like bit 30");

/* Whatever it is set to, what is used is a power of two from 1 to 512 pages. */
unsigned int kvm_rmi_fault_around = SZ_2M;
module_param_named(fault_around, kvm_rmi_fault_around, uint, 0644);
MODULE_PARM_DESC(fault_around, "Bytes of private memory to map around a fault at most");

bool kvm_rmi_fault_adaptive = true;
module_param_named(fault_adaptive, kvm_rmi_fault_adaptive, bool, 0644);
MODULE_PARM_DESC(fault_adaptive, "Map that much only where a realm uses its memory");

phys_addr_t kvm_rmi_helper_page_to_phys(struct page *page)
{
	return page_to_phys(page);
}

/* The first address from @phys on that is of memory which is online, or @end. */
phys_addr_t kvm_rmi_helper_next_online(phys_addr_t phys, phys_addr_t end)
{
	unsigned long pfn = PHYS_PFN(phys), last = PHYS_PFN(end);

	while (pfn < last && !pfn_to_online_page(pfn))
		pfn = SECTION_ALIGN_UP(pfn + 1);

	return PFN_PHYS(min(pfn, last));
}

void *kvm_rmi_helper_page_address(struct page *page)
{
	return page_address(page);
}

/* What firmware names may be no memory at all. */
bool kvm_rmi_helper_is_bad(phys_addr_t phys)
{
	struct page *page = pfn_to_online_page(PHYS_PFN(phys));

	return !page || PageHWPoison(page);
}

/* The folio of the page @pfn, and how many of @pages from there on are in it. */
static struct folio *folio_from(unsigned long pfn, unsigned long pages,
				unsigned long *nr)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);

	*nr = min_t(unsigned long, pages,
		    folio_nr_pages(folio) - folio_page_idx(folio, page));
	return folio;
}

/*
 * A page cache page that is clean and that nobody has a reference to is dropped
 * without a word, by soft offlining for one.
 */
void kvm_rmi_helper_put_pages(phys_addr_t phys, u64 pages, bool dirty)
{
	unsigned long nr, pfn = PHYS_PFN(phys);
	struct folio *folio;

	for (; pages; pages -= nr, pfn += nr) {
		folio = folio_from(pfn, pages, &nr);
		if (dirty)
			folio_mark_dirty(folio);
		folio_put_refs(folio, nr);
	}
}

/*
 * While a folio is split nobody has a reference to it, which takes no longer than
 * this; a page that is free stays free.
 */
#define SPLIT_SPINS	100
#define SPLIT_NAPS	2000

bool kvm_rmi_helper_get_pages(phys_addr_t phys, u64 pages)
{
	unsigned long nr, again, pfn = PHYS_PFN(phys);
	struct address_space *mapping;
	struct folio *folio;
	int tries = 0;

	while (pages) {
		if (!pfn_to_online_page(pfn))
			return false;

		folio = folio_from(pfn, pages, &nr);
		if (!folio_ref_try_add(folio, nr)) {
			if (++tries > SPLIT_SPINS + SPLIT_NAPS)
				return false;
			if (tries > SPLIT_SPINS)
				usleep_range(50, 100);
			else
				cpu_relax();
			continue;
		}

		/* Nobody splits it from now on. */
		if (folio_from(pfn, pages, &again) != folio || again != nr) {
			folio_put_refs(folio, nr);
			continue;
		}
		/* Only files of guest_memfd have memory that nobody may look into. */
		mapping = folio_mapping(folio);
		if (!mapping || !mapping_inaccessible(mapping)) {
			folio_put_refs(folio, nr);
			return false;
		}
		pages -= nr;
		pfn += nr;
	}
	return true;
}

void kvm_rmi_helper_cond_resched(void)
{
	cond_resched();
}

bool kvm_rmi_helper_signal_pending(void)
{
	return signal_pending(current);
}

u64 kvm_rmi_helper_id_aa64pfr0_rme(void)
{
	u64 pfr0 = read_sanitised_ftr_reg(SYS_ID_AA64PFR0_EL1);

	return SYS_FIELD_GET(ID_AA64PFR0_EL1, RME, pfr0);
}

unsigned int kvm_rmi_helper_vmid_bits(void)
{
	return get_vmid_bits(read_sanitised_ftr_reg(SYS_ID_AA64MMFR1_EL1));
}

bool kvm_rmi_helper_claim_sea(void)
{
	return !apei_claim_sea(NULL);
}

bool kvm_rmi_helper_is_kdump_kernel(void)
{
	return is_kdump_kernel();
}

bool kvm_rmi_helper_is_kernel_in_hyp_mode(void)
{
	return is_kernel_in_hyp_mode();
}

bool kvm_rmi_helper_is_kvm_arm_initialised(void)
{
	return is_kvm_arm_initialised();
}

void kvm_rmi_helper_set_dump(phys_addr_t list)
{
	WRITE_ONCE(kvm_rmi_dump, list);
}

int kvm_rmi_helper_forbid_takeover(void)
{
	return kvm_rmi_forbid_takeover();
}

void kvm_rmi_helper_allow_takeover(void)
{
	kvm_rmi_allow_takeover();
}

/* Until the machine is reset. Once is enough. */
void kvm_rmi_helper_stay_loaded(void)
{
	static atomic_t stays = ATOMIC_INIT(0);

	if (!atomic_xchg(&stays, 1))
		__module_get(THIS_MODULE);
}
