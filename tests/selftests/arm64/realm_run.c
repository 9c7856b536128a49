// SPDX-License-Identifier: GPL-2.0
/*
 * The first KVM_RUN of a realm, which makes it active, and its end.
 */
#include "realm.h"

REALM_CODE(off, REALM_SYSTEM_OFF);

/* Stores the sum of x2 to x7, and x0, to where x1 says. */
REALM_CODE(arguments,
	   "	add	x2, x2, x3\n"
	   "	add	x2, x2, x4\n"
	   "	add	x2, x2, x5\n"
	   "	add	x2, x2, x6\n"
	   "	add	x2, x2, x7\n"
	   "	str	x2, [x1]\n"
	   "	str	x0, [x1]\n"
	   REALM_SYSTEM_OFF);

TEST_F(realm, system_off)
{
	realm_load(self->vcpu, off, off_end);
	realm_assert_off(self->vcpu);
}

TEST_F(realm, starts_with_registers)
{
	realm_load(self->vcpu, arguments, arguments_end);
	vcpu_args_set(self->vcpu, 8, 0x42ULL, REALM_MMIO_GPA | REALM_SHARED,
		      1ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL);
	TEST_ASSERT_EQ(realm_assert_store(self->vcpu), 111111);
	TEST_ASSERT_EQ(realm_assert_store(self->vcpu), 0x42);
	realm_assert_off(self->vcpu);
}

TEST_F(realm, immediate_exit)
{
	realm_load(self->vcpu, off, off_end);
	self->vcpu->run->immediate_exit = 1;
	TEST_ASSERT(__vcpu_run(self->vcpu) == -1 && errno == EINTR, "immediate_exit");
	self->vcpu->run->immediate_exit = 0;
	realm_assert_off(self->vcpu);
}

/* A realm of which nothing was populated, and which never gets to its first instruction. */
TEST_F(realm, not_populated)
{
	self->vcpu->run->immediate_exit = 1;
	TEST_ASSERT(__vcpu_run(self->vcpu) == -1 && errno == EINTR, "immediate_exit");
}

/* Without the fixture's GIC, and with a vCPU that is not ready. */
TEST(refused)
{
	struct kvm_vm *vm = realm_vm_create();
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0);
	int gic;

	TEST_ASSERT(__vcpu_run(vcpu) == -1 && errno == ENOEXEC, "no KVM_ARM_VCPU_INIT");
	realm_vcpu_init(vcpu);
	TEST_ASSERT(__vcpu_run(vcpu) == -1 && errno == EOPNOTSUPP, "no GIC");

	/* That can be mended. */
	gic = realm_gic_create(vm);
	realm_load(vcpu, off, off_end);
	realm_assert_off(vcpu);
	close(gic);
	kvm_vm_free(vm);
}

TEST(vcpu_without_psci)
{
	struct kvm_vm *vm = realm_vm_create();
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, 0);
	int gic;

	vm_ioctl(vm, KVM_ARM_PREFERRED_TARGET, &vcpu->init);
	vcpu_ioctl(vcpu, KVM_ARM_VCPU_INIT, &vcpu->init);
	gic = realm_gic_create(vm);
	TEST_ASSERT(__vcpu_run(vcpu) == -1 && errno == EINVAL, "no PSCI");
	close(gic);
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	return realm_test_main(argc, argv);
}
