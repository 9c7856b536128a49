// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_GET_ONE_REG and KVM_SET_ONE_REG: the VMM sees of a realm's registers what
 * the realm begins with, or what they exchange.
 */
#include "realm.h"

#define X(n)	ARM64_CORE_REG(regs.regs[n])
#define PC	ARM64_CORE_REG(regs.pc)
#define DFR0	KVM_ARM64_SYS_REG(SYS_ID_AA64DFR0_EL1)

REALM_CODE(off, REALM_SYSTEM_OFF);

static void assert_set(struct kvm_vcpu *vcpu, u64 id, u64 value)
{
	vcpu_set_reg(vcpu, id, value);
	TEST_ASSERT_EQ(vcpu_get_reg(vcpu, id), value);
}

static void assert_refused(struct kvm_vcpu *vcpu, u64 id, u64 value, int err)
{
	int ret = __vcpu_set_reg(vcpu, id, value);

	TEST_ASSERT(ret == -1 && errno == err, "register %lx: %d, errno %d, not %d",
		    id, ret, errno, err);
}

static int times(struct kvm_reg_list *list, u64 id)
{
	u64 i, n = 0;

	for (i = 0; i < list->n; i++)
		n += list->reg[i] == id;
	return n;
}

TEST_F(realm, list)
{
	struct kvm_reg_list *list = vcpu_get_reg_list(self->vcpu);
	u64 i;

	for (i = 0; i <= 30; i++)
		TEST_ASSERT_EQ(times(list, X(i)), 1);
	TEST_ASSERT_EQ(times(list, PC), 1);
	TEST_ASSERT_EQ(times(list, DFR0), 1);
	TEST_ASSERT_EQ(list->n, 31 + 2);

	/* What is listed can be written back. */
	for (i = 0; i < list->n; i++)
		vcpu_set_reg(self->vcpu, list->reg[i], vcpu_get_reg(self->vcpu, list->reg[i]));
	free(list);
}

TEST_F(realm, general)
{
	int n;

	for (n = 0; n <= 30; n++)
		assert_set(self->vcpu, X(n), 0x1234567800000000ULL + n);
	assert_set(self->vcpu, PC, REALM_MEM_GPA);

	realm_load(self->vcpu, off, off_end);
	realm_assert_off(self->vcpu);
	for (n = 0; n <= 30; n++)
		assert_set(self->vcpu, X(n), 0x8765432100000000ULL + n);
	assert_refused(self->vcpu, PC, REALM_MEM_GPA + 4, EBUSY);
	vcpu_set_reg(self->vcpu, PC, vcpu_get_reg(self->vcpu, PC));
}

TEST_F(realm, breakpoints)
{
	u64 dfr0 = vcpu_get_reg(self->vcpu, DFR0);
	u64 least = dfr0 & ~(ID_AA64DFR0_EL1_BRPs_MASK | ID_AA64DFR0_EL1_WRPs_MASK);

	assert_refused(self->vcpu, DFR0, least, EINVAL);
	least |= FIELD_PREP(ID_AA64DFR0_EL1_BRPs_MASK, 1) |
		 FIELD_PREP(ID_AA64DFR0_EL1_WRPs_MASK, 1);
	assert_set(self->vcpu, DFR0, least);
	assert_refused(self->vcpu, DFR0, least ^ ID_AA64DFR0_EL1_DebugVer_MASK, EINVAL);

	/* They are parameters of the realm, which are settled now. */
	realm_load(self->vcpu, off, off_end);
	if (dfr0 != least)
		assert_refused(self->vcpu, DFR0, dfr0, EBUSY);
	vcpu_set_reg(self->vcpu, DFR0, least);
	realm_assert_off(self->vcpu);
}

TEST_F(realm, timers_do_nothing)
{
	vcpu_set_reg(self->vcpu, KVM_REG_ARM_TIMER_CNT, 0);
	vcpu_set_reg(self->vcpu, KVM_REG_ARM_PTIMER_CNT, 0);
}

TEST_F(realm, others)
{
	static const u64 ids[] = {
		ARM64_CORE_REG(regs.sp), ARM64_CORE_REG(regs.pstate),
		ARM64_CORE_REG(sp_el1), ARM64_CORE_REG(elr_el1),
		KVM_ARM64_SYS_REG(SYS_SCTLR_EL1), KVM_ARM64_SYS_REG(SYS_TTBR0_EL1),
		KVM_ARM64_SYS_REG(SYS_VBAR_EL1), KVM_ARM64_SYS_REG(SYS_TPIDR_EL1),
		KVM_ARM64_SYS_REG(SYS_ID_AA64PFR0_EL1), KVM_REG_ARM_PSCI_VERSION,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(ids); i++)
		assert_refused(self->vcpu, ids[i], 0x5a5a5a5a5a5a5a5aULL, EINVAL);
}

int main(int argc, char *argv[])
{
	return realm_test_main(argc, argv);
}
