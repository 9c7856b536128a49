// SPDX-License-Identifier: GPL-2.0
/* The tracepoints, and for each the function by which Rust reaches it. */

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include "trace.h"
