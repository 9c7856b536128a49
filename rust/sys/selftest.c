// SPDX-License-Identifier: GPL-2.0
/*
 * What only tests of the component do to a host.
 */

#include <linux/errno.h>
#include <linux/io.h>
#include <linux/memory_hotplug.h>
#include <linux/string.h>

#include <asm/word-at-a-time.h>

#include "helpers.h"

int kvm_rmi_helper_add_memory(u64 base, u64 size)
{
#ifdef CONFIG_MEMORY_HOTPLUG
	return add_memory(0, base, size, MHP_NONE);
#else
	return -EOPNOTSUPP;
#endif
}

bool kvm_rmi_helper_loads_zeroes_from(phys_addr_t edge)
{
	unsigned int n;
	u8 *end = phys_to_virt(edge);

	memset(end - sizeof(long), 0xa5, sizeof(long));
	/* Only where a word begins in what can be read is there one to load. */
	for (n = 1; n < sizeof(long); n++)
		if (load_unaligned_zeropad(end - n) !=
		    (REPEAT_BYTE(0xa5) & GENMASK_ULL(8 * n - 1, 0)))
			return false;

	return true;
}
