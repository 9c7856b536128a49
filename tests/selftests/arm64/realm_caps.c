// SPDX-License-Identifier: GPL-2.0
/*
 * The VM type of realms, and what such a VM can do.
 */
#include "realm.h"

static int create_vm(unsigned long type)
{
	int kvm = open_kvm_dev_path_or_exit();
	int vm = __kvm_ioctl(kvm, KVM_CREATE_VM, (void *)type);
	int err = vm < 0 ? errno : 0;

	if (vm >= 0)
		close(vm);
	close(kvm);
	return err;
}

TEST_F(realm, vm_type)
{
	unsigned int most = vm_check_cap(self->vm, KVM_CAP_ARM_VM_IPA_SIZE);
	unsigned int bits;

	TEST_ASSERT_EQ(create_vm(KVM_VM_TYPE_ARM_REALM), 0);
	for (bits = 0; bits <= KVM_VM_TYPE_ARM_IPA_SIZE_MASK; bits++) {
		unsigned long type = KVM_VM_TYPE_ARM_REALM | bits;
		bool ok = !bits || (bits >= 32 && bits <= most);

		TEST_ASSERT_EQ(create_vm(type), ok ? 0 : EINVAL);
	}
	for (bits = 9; bits < 64; bits++) {
		if (BIT_ULL(bits) == KVM_VM_TYPE_ARM_REALM)
			continue;
		TEST_ASSERT_EQ(create_vm(KVM_VM_TYPE_ARM_REALM | BIT_ULL(bits)),
			       EINVAL);
	}
}

TEST_F(realm, offered)
{
	static const int caps[] = {
		KVM_CAP_ARM_RMI, KVM_CAP_ARM_VM_IPA_SIZE, KVM_CAP_ARM_PSCI_0_2,
		KVM_CAP_ARM_PTRAUTH_ADDRESS, KVM_CAP_ARM_PTRAUTH_GENERIC,
		KVM_CAP_DEVICE_CTRL, KVM_CAP_GUEST_MEMFD, KVM_CAP_IMMEDIATE_EXIT,
		KVM_CAP_IOEVENTFD, KVM_CAP_IRQCHIP, KVM_CAP_IRQFD,
		KVM_CAP_MAX_VCPUS, KVM_CAP_MP_STATE, KVM_CAP_NR_MEMSLOTS,
		KVM_CAP_ONE_REG, KVM_CAP_PRE_FAULT_MEMORY, KVM_CAP_SYNC_MMU,
		KVM_CAP_USER_MEMORY2,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(caps); i++)
		TEST_ASSERT(vm_check_cap(self->vm, caps[i]) > 0,
			    "capability %d is missing", caps[i]);
	TEST_ASSERT_EQ(vm_check_cap(self->vm, KVM_CAP_MEMORY_ATTRIBUTES),
		       KVM_MEMORY_ATTRIBUTE_PRIVATE);
}

TEST_F(realm, refused)
{
	static const int caps[] = {
		KVM_CAP_ARM_EL1_32BIT, KVM_CAP_ARM_EL2, KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE,
		KVM_CAP_ARM_INJECT_SERROR_ESR, KVM_CAP_ARM_MTE, KVM_CAP_ARM_NISV_TO_USER,
		KVM_CAP_ARM_PMU_V3_STRICT, KVM_CAP_ARM_SYSTEM_SUSPEND, KVM_CAP_COUNTER_OFFSET,
		KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_GUEST_DEBUG_HW_BPS,
		KVM_CAP_READONLY_MEM, KVM_CAP_SET_GUEST_DEBUG, KVM_CAP_STEAL_TIME,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		TEST_ASSERT(!vm_check_cap(self->vm, caps[i]),
			    "a realm has capability %d", caps[i]);
		TEST_ASSERT(__vm_enable_cap(self->vm, caps[i], 1) == -1 && errno == EINVAL,
			    "capability %d can be enabled", caps[i]);
	}
}

TEST_F(realm, vcpu_features)
{
	static const int features[] = {
		KVM_ARM_VCPU_EL1_32BIT, KVM_ARM_VCPU_HAS_EL2, KVM_ARM_VCPU_PMU_V3_STRICT,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(features); i++) {
		struct kvm_vcpu_init init = self->vcpu->init;

		init.features[0] |= BIT(features[i]);
		TEST_ASSERT(__vcpu_ioctl(self->vcpu, KVM_ARM_VCPU_INIT, &init) == -1 &&
			    errno == EINVAL, "a vCPU has feature %d", features[i]);
	}
}

TEST_F(realm, devices)
{
	TEST_ASSERT(__kvm_create_device(self->vm, KVM_DEV_TYPE_ARM_VGIC_V2) < 0 &&
		    errno == ENODEV, "a realm has a GICv2");
}

TEST_F(realm, memory)
{
	u64 page = getpagesize();
	u64 gpa = REALM_MEM_GPA + realm_mem_size();
	void *hva = addr_gpa2hva(self->vm, REALM_MEM_GPA);
	int memfd = vm_create_guest_memfd(self->vm, page, 0);

	TEST_ASSERT(__vm_set_user_memory_region(self->vm, 1, KVM_MEM_READONLY, gpa, page, hva) &&
		    errno == EINVAL, "a realm has read-only memory");
	TEST_ASSERT(__vm_set_user_memory_region2(self->vm, 1,
						 KVM_MEM_GUEST_MEMFD | KVM_MEM_LOG_DIRTY_PAGES,
						 gpa, page, hva, memfd, 0) && errno == EINVAL,
		    "private memory has a dirty log");
	TEST_ASSERT(__vm_set_user_memory_region(self->vm, 1, 0, REALM_SHARED, page, hva) &&
		    errno == EFAULT, "a slot is in the shared half");
	vm_set_user_memory_region2(self->vm, 1, KVM_MEM_GUEST_MEMFD, gpa, page, hva, memfd, 0);
	close(memfd);
}

int main(int argc, char *argv[])
{
	return realm_test_main(argc, argv);
}
