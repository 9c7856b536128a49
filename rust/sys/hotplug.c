// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of the host that comes and goes. What comes is shown to Rust. What a
 * file of guest_memfd has of private memory cannot go, nor what is left of such
 * a file because the RMM has not given it back: such a page cannot be migrated,
 * which offline_pages() tries again and again until a signal comes, while it
 * sees a page on an LRU list. It passes over pages that are known to be bad,
 * whoever has them: Rust says whether that may be the RMM.
 */

#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

#include "helpers.h"

static kvm_rmi_visit_ram watch_coming;
static kvm_rmi_visit_ram watch_going;
static void *watch_arg;

/* The page may go any time; the lock of its folio keeps the mapping. */
static bool has_to_stay(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct address_space *mapping;
	bool ret = false;

	if (!folio_try_get(folio))
		return false;

	if (page_folio(page) == folio && folio_test_lru(folio)) {
		folio_lock(folio);
		mapping = folio_mapping(folio);
		/* A page of no file any more goes with the last reference. */
		ret = mapping ? mapping_inaccessible(mapping) :
				!folio_test_anon(folio) &&
				folio_ref_count(folio) > 1;
		folio_unlock(folio);
	}
	folio_put(folio);

	return ret;
}

static int going_offline(const struct memory_notify *memory)
{
	unsigned long pfn, end = memory->start_pfn + memory->nr_pages;

	for (pfn = memory->start_pfn; pfn < end; pfn++) {
		if (has_to_stay(pfn_to_page(pfn)))
			return -EBUSY;
		cond_resched();
	}

	return watch_going(memory->start_pfn, memory->nr_pages, watch_arg);
}

static int notify(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct memory_notify *memory = data;

	switch (action) {
	case MEM_GOING_ONLINE:
		return notifier_from_errno(watch_coming(memory->start_pfn,
							memory->nr_pages,
							watch_arg));
	case MEM_GOING_OFFLINE:
		return notifier_from_errno(going_offline(memory));
	default:
		return NOTIFY_DONE;
	}
}

static struct notifier_block notifier = {
	.notifier_call = notify,
};

int kvm_rmi_helper_watch_ram(void *arg, kvm_rmi_visit_ram coming,
			     kvm_rmi_visit_ram going)
{
	watch_coming = coming;
	watch_going = going;
	watch_arg = arg;

	return register_memory_notifier(&notifier);
}

void kvm_rmi_helper_unwatch_ram(void)
{
	unregister_memory_notifier(&notifier);
}
