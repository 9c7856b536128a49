// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that a realm shares, and takes back: KVM_EXIT_MEMORY_FAULT and
 * memory attributes.
 */
#include "realm.h"

/* RSI_IPA_STATE_SET of the page at x19 to the RIPAS in @ripas; x2: whether the host agrees. */
#define SET_RIPAS(ripas)					\
	"	mov	w0, #0x0197\n"				\
	"	movk	w0, #0xc400, lsl #16\n"			\
	"	mov	x1, x19\n"				\
	"	add	x2, x19, x22\n"				\
	"	mov	x3, #" #ripas "\n"			\
	"	mov	x4, #1\n"				\
	"	smc	#0\n"
#define EMPTY	0
#define RAM	1
#define SET_RIPAS_TO(ripas)	SET_RIPAS(ripas)

/* x19: a private page; x20: the same one, shared; x21: what is MMIO; x22: its size */
#define ARGUMENTS						\
	"	mov	x19, x0\n"				\
	"	mov	x20, x1\n"				\
	"	mov	x21, x2\n"				\
	"	mov	x22, x3\n"

/*
 * Writes to the page, shares it, says what the host has put there, writes that
 * plus one, takes the page back, and uses it.
 */
REALM_CODE(convert,
	   ARGUMENTS
	   "	mov	x5, #77\n"
	   "	str	x5, [x19]\n"
	   SET_RIPAS_TO(EMPTY)
	   "	str	x0, [x21]\n"
	   "	ldr	x5, [x20]\n"
	   "	str	x5, [x21]\n"
	   "	add	x5, x5, #1\n"
	   "	str	x5, [x20]\n"
	   SET_RIPAS_TO(RAM)
	   "	orr	x0, x0, x2\n"
	   "	str	x0, [x21]\n"
	   "	mov	x5, #5\n"
	   "	str	x5, [x19]\n"
	   "	ldr	x5, [x19]\n"
	   "	str	x5, [x21]\n"
	   REALM_SYSTEM_OFF);

/* Asks for private memory, and says what the host answers. */
REALM_CODE(ask,
	   ARGUMENTS
	   SET_RIPAS_TO(RAM)
	   "	str	x2, [x21]\n"
	   REALM_SYSTEM_OFF);

/* Uses what the host has shared without being asked to. */
REALM_CODE(touch,
	   ARGUMENTS
	   "	ldr	x5, [x20]\n"
	   "	str	x5, [x21]\n"
	   REALM_SYSTEM_OFF);

static u64 page_gpa(void)
{
	return REALM_MEM_GPA + getpagesize();
}

static void start(struct kvm_vcpu *vcpu, const char *code, const char *end)
{
	realm_load(vcpu, code, end);
	vcpu_args_set(vcpu, 4, page_gpa(), page_gpa() | REALM_SHARED,
		      REALM_MMIO_GPA | REALM_SHARED, (u64)getpagesize());
}

/* The vCPU runs until the page is asked for. */
static void assert_fault(struct kvm_vcpu *vcpu, u64 flags, u64 cause)
{
	struct kvm_arm_rmi_memory_fault *fault = (void *)&vcpu->run->memory_fault;
	int ret = realm_run(vcpu);

	TEST_ASSERT(ret == -1 && errno == EFAULT, "KVM_RUN: %d, errno %d", ret, errno);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_MEMORY_FAULT);
	TEST_ASSERT_EQ(fault->flags, flags);
	TEST_ASSERT_EQ(fault->gpa, page_gpa());
	TEST_ASSERT_EQ(fault->size, getpagesize());
	TEST_ASSERT_EQ(fault->cause, cause);
}

static void share(struct kvm_vm *vm)
{
	vm_mem_set_shared(vm, page_gpa(), getpagesize());
	vm_guest_mem_punch_hole(vm, page_gpa(), getpagesize());
}

TEST_F(realm, there_and_back)
{
	u64 *shared = addr_gpa2hva(self->vm, page_gpa());

	start(self->vcpu, convert, convert_end);
	assert_fault(self->vcpu, 0, KVM_ARM_RMI_FAULT_RIPAS);
	share(self->vm);
	*shared = 1234;
	/* The realm's change is done, and it sees what is shared. */
	TEST_ASSERT_EQ(realm_assert_store(self->vcpu), 0);
	TEST_ASSERT_EQ(realm_assert_store(self->vcpu), 1234);

	assert_fault(self->vcpu, KVM_MEMORY_EXIT_FLAG_PRIVATE, KVM_ARM_RMI_FAULT_RIPAS);
	TEST_ASSERT_EQ(*shared, 1235);
	vm_mem_set_private(self->vm, page_gpa(), getpagesize());
	*shared = 5678;
	/* What it has there now is not what is shared. */
	TEST_ASSERT_EQ(realm_assert_store(self->vcpu), 0);
	TEST_ASSERT_EQ(realm_assert_store(self->vcpu), 5);
	realm_assert_off(self->vcpu);
	TEST_ASSERT_EQ(*shared, 5678);
}

TEST_F(realm, comes_again)
{
	start(self->vcpu, convert, convert_end);
	assert_fault(self->vcpu, 0, KVM_ARM_RMI_FAULT_RIPAS);
	/* Until the attributes are as the realm wants them. */
	assert_fault(self->vcpu, 0, KVM_ARM_RMI_FAULT_RIPAS);
}

TEST_F(realm, refused)
{
	struct kvm_arm_rmi_memory_fault *fault = (void *)&self->vcpu->run->memory_fault;

	vm_mem_set_shared(self->vm, page_gpa(), getpagesize());
	start(self->vcpu, ask, ask_end);
	assert_fault(self->vcpu, KVM_MEMORY_EXIT_FLAG_PRIVATE, KVM_ARM_RMI_FAULT_RIPAS);

	fault->answer = KVM_ARM_RMI_FAULT_REJECT + 1;
	TEST_ASSERT(realm_run(self->vcpu) == -1 && errno == EINVAL, "an unknown answer");
	fault->answer = KVM_ARM_RMI_FAULT_REJECT;
	/* RSI_REJECT */
	TEST_ASSERT_EQ(realm_assert_store(self->vcpu), 1);
	realm_assert_off(self->vcpu);
}

TEST_F(realm, access)
{
	start(self->vcpu, touch, touch_end);
	assert_fault(self->vcpu, 0, KVM_ARM_RMI_FAULT_ACCESS);
	share(self->vm);
	*(u64 *)addr_gpa2hva(self->vm, page_gpa()) = 99;
	TEST_ASSERT_EQ(realm_assert_store(self->vcpu), 99);
	realm_assert_off(self->vcpu);
}

TEST_F(realm, attributes)
{
	struct kvm_memory_attributes attr = {
		.address = page_gpa(),
		.size = getpagesize(),
		.attributes = KVM_MEMORY_ATTRIBUTE_PRIVATE << 1,
	};
	struct kvm_vm *vm = vm_create_barebones();

	TEST_ASSERT(__vm_ioctl(self->vm, KVM_SET_MEMORY_ATTRIBUTES, &attr) == -1 &&
		    errno == EINVAL, "an unknown attribute");
	attr.attributes = KVM_MEMORY_ATTRIBUTE_PRIVATE;
	TEST_ASSERT(__vm_ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES, &attr) == -1,
		    "an ordinary VM has private memory");
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	return realm_test_main(argc, argv);
}
