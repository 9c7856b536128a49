// SPDX-License-Identifier: GPL-2.0

//! Private memory: populating a realm, faulting pages in, converting and invalidating them.
//!
//! Nothing is here yet: realms cannot be created so far.
