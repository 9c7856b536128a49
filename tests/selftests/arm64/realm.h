/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tests of Arm CCA's realms have in common.
 */
#ifndef SELFTEST_KVM_REALM_H
#define SELFTEST_KVM_REALM_H

#include <errno.h>

#include <linux/sizes.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "gic.h"
#include "gic_v3.h"
#include "vgic.h"

#include "kvm_arm_rmi.h"

/* A realm of the default IPA size: the upper half of its space is shared. */
#define REALM_IPA_BITS		40
#define REALM_SHARED		BIT_ULL(REALM_IPA_BITS - 1)

/* Memory of a test, in slot 0. It begins with the code. */
#define REALM_MEM_GPA		0x80000000ULL
#define REALM_MEM_PAGES		16

/* No slot is here. */
#define REALM_MMIO_GPA		0x10000000ULL

/*
 * Code that runs in a realm with its MMU off, wherever it is: assembler between
 * @name and @name_end.
 */
#define REALM_CODE(name, code)				\
	asm(".pushsection .rodata\n"			\
	    ".balign 4\n"				\
	    #name ":\n"					\
	    code					\
	    #name "_end:\n"				\
	    ".popsection\n");				\
	extern const char name[], name##_end[]

#define REALM_SYSTEM_OFF				\
	"	mov	w0, #0x0008\n"			\
	"	movk	w0, #0x8400, lsl #16\n"		\
	"	smc	#0\n"				\
	"	b	.\n"

static inline u64 realm_mem_size(void)
{
	return REALM_MEM_PAGES * getpagesize();
}

static inline struct kvm_vm *realm_vm_create(void)
{
	struct kvm_vm *vm = vm_create_barebones();

	/* The library makes VMs of the default type: let this one be another. */
	kvm_vm_release(vm);
	vm->type = KVM_VM_TYPE_ARM_REALM;
	kvm_vm_restart(vm);

	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, REALM_MEM_GPA, 0,
				    realm_mem_size() / vm->page_size,
				    KVM_MEM_GUEST_MEMFD);
	vm_mem_set_private(vm, REALM_MEM_GPA, realm_mem_size());
	return vm;
}

static inline void realm_vcpu_init(struct kvm_vcpu *vcpu)
{
	vm_ioctl(vcpu->vm, KVM_ARM_PREFERRED_TARGET, &vcpu->init);
	vcpu->init.features[0] |= BIT(KVM_ARM_VCPU_PSCI_0_2);
	vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &vcpu->init);
}

/* The library's own maps the GIC into page tables, which a realm has not got. */
static inline int realm_gic_create(struct kvm_vm *vm)
{
	u64 redist = REDIST_REGION_ATTR_ADDR(1, GICR_BASE_GPA, 0, 0);
	u64 dist = GICD_BASE_GPA;
	int fd = kvm_create_device(vm, KVM_DEV_TYPE_ARM_VGIC_V3);

	kvm_device_attr_set(fd, KVM_DEV_ARM_VGIC_GRP_ADDR,
			    KVM_VGIC_V3_ADDR_TYPE_DIST, &dist);
	kvm_device_attr_set(fd, KVM_DEV_ARM_VGIC_GRP_ADDR,
			    KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, &redist);
	__vgic_v3_init(fd);
	return fd;
}

static inline int __realm_populate(struct kvm_vm *vm,
				   struct kvm_arm_rmi_populate *populate)
{
	int ret;

	do {
		ret = __vm_ioctl(vm, KVM_ARM_RMI_POPULATE, populate);
	} while ((!ret && populate->size) || (ret && errno == EINTR));
	return ret;
}

/* Populate the first page with what is in @code, and begin there. */
static inline void realm_load(struct kvm_vcpu *vcpu, const char *code,
			      const char *end)
{
	void *page = kvm_mmap(getpagesize(), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct kvm_arm_rmi_populate populate = {
		.base = REALM_MEM_GPA,
		.size = getpagesize(),
		.source_uaddr = (u64)page,
		.flags = KVM_ARM_RMI_POPULATE_FLAGS_MEASURE,
	};
	int ret;

	memcpy(page, code, end - code);
	ret = __realm_populate(vcpu->vm, &populate);
	TEST_ASSERT(!ret, KVM_IOCTL_ERROR(KVM_ARM_RMI_POPULATE, ret));
	kvm_munmap(page, getpagesize());

	vcpu_arch_set_entry_point(vcpu, (void *)REALM_MEM_GPA);
}

/* Run until something else than a signal or the RMM sends the vCPU back. */
static inline int realm_run(struct kvm_vcpu *vcpu)
{
	int ret;

	do {
		ret = __vcpu_run(vcpu);
	} while (ret && (errno == EINTR || errno == EAGAIN));
	return ret;
}

static inline void realm_assert_off(struct kvm_vcpu *vcpu)
{
	int ret = realm_run(vcpu);

	TEST_ASSERT(!ret, KVM_IOCTL_ERROR(KVM_RUN, ret));
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_SYSTEM_EVENT);
	TEST_ASSERT_EQ(vcpu->run->system_event.type, KVM_SYSTEM_EVENT_SHUTDOWN);
}

/* The realm stores 8 bytes where no memory is: these. */
static inline u64 realm_assert_store(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	int ret = realm_run(vcpu);
	u64 value;

	TEST_ASSERT(!ret, KVM_IOCTL_ERROR(KVM_RUN, ret));
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(run->mmio.phys_addr, REALM_MMIO_GPA);
	TEST_ASSERT_EQ(run->mmio.is_write, 1);
	TEST_ASSERT_EQ(run->mmio.len, sizeof(value));
	memcpy(&value, run->mmio.data, sizeof(value));
	return value;
}

/* A test begins with a realm of a vCPU and a GIC, of which the RMM knows nothing. */
FIXTURE(realm) {
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int gic;
};

FIXTURE_SETUP(realm)
{
	self->vm = realm_vm_create();
	self->vcpu = __vm_vcpu_add(self->vm, 0);
	realm_vcpu_init(self->vcpu);
	self->gic = realm_gic_create(self->vm);
}

FIXTURE_TEARDOWN(realm)
{
	close(self->gic);
	kvm_vm_free(self->vm);
}

static inline int realm_test_main(int argc, char *argv[])
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_ARM_RMI));

	return test_harness_run(argc, argv);
}

#endif /* SELFTEST_KVM_REALM_H */
