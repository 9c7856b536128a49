// SPDX-License-Identifier: GPL-2.0
/*
 * The functions by which Rust reaches tracepoints: newer kernels make them of
 * CREATE_RUST_TRACE_POINTS in trace.c.
 */

#include "helpers.h"
#include "trace.h"

void rust_do_trace_rmi_call(u32 fid, const char *name, u32 len, u64 realm,
			    u64 x1, u64 x2, u64 x3, u64 result)
{
	trace_rmi_call(fid, name, len, realm, x1, x2, x3, result);
}

void rust_do_trace_rec_enter(u64 realm, int vcpu)
{
	trace_rec_enter(realm, vcpu);
}

void rust_do_trace_rec_exit(u64 realm, int vcpu, u64 result, u32 reason, u64 esr)
{
	trace_rec_exit(realm, vcpu, result, reason, esr);
}

void rust_do_trace_realm_map(u64 realm, bool private, u64 start, u64 end,
			     u64 pages)
{
	trace_realm_map(realm, private, start, end, pages);
}

void rust_do_trace_realm_unmap(u64 realm, bool private, u64 start, u64 end,
			       u64 pages)
{
	trace_realm_unmap(realm, private, start, end, pages);
}
