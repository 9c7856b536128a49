// SPDX-License-Identifier: GPL-2.0

//! The realm translation tables: which ones are missing, mapping and unmapping, RIPAS, and
//! `realm_map_ipa`.
//!
//! Nothing is here yet: realms cannot be created so far.
