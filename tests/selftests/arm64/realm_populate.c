// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_ARM_RMI_POPULATE: what a realm's memory has before it runs.
 */
#include "realm.h"

/* Loads from where x2 says, and stores that to x1. */
REALM_CODE(load,
	   "	ldr	x0, [x2]\n"
	   "	str	x0, [x1]\n"
	   REALM_SYSTEM_OFF);

static char *source(struct kvm_vm *vm)
{
	return addr_gpa2hva(vm, REALM_MEM_GPA);
}

/* What the second half of the test's memory is populated with. */
static struct kvm_arm_rmi_populate half(struct kvm_vm *vm)
{
	u64 size = realm_mem_size() / 2;

	return (struct kvm_arm_rmi_populate) {
		.base = REALM_MEM_GPA + size,
		.size = size,
		.source_uaddr = (u64)source(vm) + size,
	};
}

static void assert_refused(struct kvm_vm *vm, struct kvm_arm_rmi_populate populate,
			   int err, const char *what)
{
	struct kvm_arm_rmi_populate before = populate;
	int ret = __vm_ioctl(vm, KVM_ARM_RMI_POPULATE, &populate);

	TEST_ASSERT(ret == -1 && errno == err, "%s: %d, errno %d, not %d",
		    what, ret, errno, err);
	TEST_ASSERT(!memcmp(&populate, &before, sizeof(before)),
		    "%s: something is done", what);
}

TEST_F(realm, contents)
{
	struct kvm_arm_rmi_populate before = half(self->vm), populate = before;
	u64 value = 0x0123456789abcdef;

	*(u64 *)before.source_uaddr = value;
	populate.flags = KVM_ARM_RMI_POPULATE_FLAGS_MEASURE;
	TEST_ASSERT_EQ(__realm_populate(self->vm, &populate), 0);
	TEST_ASSERT_EQ(populate.size, 0);
	TEST_ASSERT_EQ(populate.base, before.base + before.size);
	TEST_ASSERT_EQ(populate.source_uaddr, before.source_uaddr + before.size);
	assert_refused(self->vm, before, EEXIST, "a page twice");

	/* The realm has a copy. */
	*(u64 *)before.source_uaddr = 0;
	realm_load(self->vcpu, load, load_end);
	vcpu_args_set(self->vcpu, 3, 0ULL, REALM_MMIO_GPA | REALM_SHARED, before.base);
	TEST_ASSERT_EQ(realm_assert_store(self->vcpu), value);
	realm_assert_off(self->vcpu);
}

TEST_F(realm, nothing)
{
	struct kvm_arm_rmi_populate none = {};

	TEST_ASSERT_EQ(__vm_ioctl(self->vm, KVM_ARM_RMI_POPULATE, &none), 0);
}

#define REFUSED(what, err, field, value)				\
({									\
	struct kvm_arm_rmi_populate populate = half(self->vm);		\
									\
	populate.field = (value);					\
	assert_refused(self->vm, populate, err, what);			\
})

TEST_F(realm, arguments)
{
	u64 last = REALM_MEM_GPA + realm_mem_size() - getpagesize();

	REFUSED("an unaligned base", EINVAL, base, last + 1);
	REFUSED("an unaligned size", EINVAL, size, 1);
	REFUSED("an unaligned source", EINVAL, source_uaddr, (u64)source(self->vm) + 1);
	REFUSED("a range that wraps", EINVAL, size, -(u64)getpagesize());
	REFUSED("no source", EINVAL, source_uaddr, 0);
	REFUSED("an unknown flag", EINVAL, flags, 2);
	REFUSED("something reserved", EINVAL, reserved, 1);
	REFUSED("the shared half", EINVAL, base, REALM_MEM_GPA | REALM_SHARED);
	REFUSED("no slot", EINVAL, base, REALM_MEM_GPA + realm_mem_size());
	REFUSED("a source that is not there", EFAULT, source_uaddr, getpagesize());
}

TEST_F(realm, attributes)
{
	struct kvm_arm_rmi_populate populate = half(self->vm);

	vm_mem_set_shared(self->vm, populate.base, populate.size);
	assert_refused(self->vm, populate, EINVAL, "shared memory");
	vm_mem_set_private(self->vm, populate.base, populate.size);
	TEST_ASSERT_EQ(__realm_populate(self->vm, &populate), 0);
}

TEST_F(realm, too_late)
{
	realm_load(self->vcpu, load, load_end);
	self->vcpu->run->immediate_exit = 1;
	TEST_ASSERT(__vcpu_run(self->vcpu) == -1 && errno == EINTR, "immediate_exit");
	assert_refused(self->vm, half(self->vm), EBUSY, "a realm that has run");
}

TEST_F(realm, other_vm)
{
	struct kvm_vm *vm = vm_create_barebones();

	assert_refused(vm, half(self->vm), EINVAL, "an ordinary VM");
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	return realm_test_main(argc, argv);
}
