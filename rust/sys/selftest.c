// SPDX-License-Identifier: GPL-2.0
/*
 * What only tests of the component do to a host.
 */

#include <linux/errno.h>
#include <linux/memory_hotplug.h>

#include "helpers.h"

int kvm_rmi_helper_add_memory(u64 base, u64 size)
{
#ifdef CONFIG_MEMORY_HOTPLUG
	return add_memory(0, base, size, MHP_NONE);
#else
	return -EOPNOTSUPP;
#endif
}
