/* SPDX-License-Identifier: GPL-2.0 */
/* Events of the component, for rust/sys/trace.rs; uapi/README.md describes them. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvm_arm_rmi

#if !defined(KVM_ARM_RMI_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KVM_ARM_RMI_TRACE_H

#include <linux/tracepoint.h>
#include <linux/types.h>

/* The name comes from Rust, which has the commands; it is @len bytes long. */
TRACE_EVENT(rmi_call,
	    TP_PROTO(u32 fid, const char *name, u32 len, u64 realm, u64 x1, u64 x2,
		     u64 x3, u64 result),
	    TP_ARGS(fid, name, len, realm, x1, x2, x3, result),

	    TP_STRUCT__entry(__field(u32, fid)
			     __field(u64, realm)
			     __field(u64, x1)
			     __field(u64, x2)
			     __field(u64, x3)
			     __field(u64, result)
			     __string_len(name, name, len)),

	    TP_fast_assign(__entry->fid = fid;
			   __entry->realm = realm;
			   __entry->x1 = x1;
			   __entry->x2 = x2;
			   __entry->x3 = x3;
			   __entry->result = result;
			   __assign_str(name);),

	    TP_printk("fid=0x%x x1=0x%llx x2=0x%llx x3=0x%llx name=%s realm=0x%llx result=0x%llx",
		      __entry->fid, __entry->x1, __entry->x2, __entry->x3,
		      __get_str(name), __entry->realm, __entry->result)
);

TRACE_EVENT(rec_enter,
	    TP_PROTO(u64 realm, int vcpu),
	    TP_ARGS(realm, vcpu),

	    TP_STRUCT__entry(__field(u64, realm)
			     __field(int, vcpu)),

	    TP_fast_assign(__entry->realm = realm;
			   __entry->vcpu = vcpu;),

	    TP_printk("realm=0x%llx vcpu=%d", __entry->realm, __entry->vcpu)
);

/* Not one of the RMM's reasons: it has not entered the REC. */
#define KVM_RMI_NOT_ENTERED	0x100

TRACE_EVENT(rec_exit,
	    TP_PROTO(u64 realm, int vcpu, u64 result, u32 reason, u64 esr),
	    TP_ARGS(realm, vcpu, result, reason, esr),

	    TP_STRUCT__entry(__field(u64, realm)
			     __field(u64, result)
			     __field(u64, esr)
			     __field(int, vcpu)
			     __field(u32, reason)),

	    TP_fast_assign(__entry->realm = realm;
			   __entry->result = result;
			   __entry->esr = esr;
			   __entry->vcpu = vcpu;
			   __entry->reason = reason;),

	    TP_printk("realm=0x%llx vcpu=%d result=0x%llx reason=%s esr=0x%llx",
		      __entry->realm, __entry->vcpu, __entry->result,
		      __print_symbolic(__entry->reason,
				       { 0, "SYNC" },
				       { 1, "IRQ" },
				       { 2, "FIQ" },
				       { 3, "PSCI" },
				       { 4, "RIPAS_CHANGE" },
				       { 5, "HOST_CALL" },
				       { 6, "SERROR" },
				       { KVM_RMI_NOT_ENTERED, "NOT_ENTERED" }),
		      __entry->esr)
);

DECLARE_EVENT_CLASS(realm_memory,
		    TP_PROTO(u64 realm, bool private, u64 start, u64 end,
			     u64 pages),
		    TP_ARGS(realm, private, start, end, pages),

		    TP_STRUCT__entry(__field(u64, realm)
				     __field(u64, start)
				     __field(u64, end)
				     __field(u64, pages)
				     __field(bool, private)),

		    TP_fast_assign(__entry->realm = realm;
				   __entry->start = start;
				   __entry->end = end;
				   __entry->pages = pages;
				   __entry->private = private;),

		    TP_printk("realm=0x%llx %s start=0x%llx end=0x%llx pages=%llu",
			      __entry->realm,
			      __entry->private ? "private" : "shared",
			      __entry->start, __entry->end, __entry->pages)
);

DEFINE_EVENT(realm_memory, realm_map,
	     TP_PROTO(u64 realm, bool private, u64 start, u64 end, u64 pages),
	     TP_ARGS(realm, private, start, end, pages)
);

DEFINE_EVENT(realm_memory, realm_unmap,
	     TP_PROTO(u64 realm, bool private, u64 start, u64 end, u64 pages),
	     TP_ARGS(realm, private, start, end, pages)
);

#endif /* KVM_ARM_RMI_TRACE_H */

/* Kbuild has this folder searched, be it in the kernel's tree or not. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

/* This part must be outside protection. */
#include <trace/define_trace.h>
