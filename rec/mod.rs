// SPDX-License-Identifier: GPL-2.0

//! RECs, the virtual CPUs of a realm: their life, what goes into an entry, and completing what one
//! asked for at its last exit.
//!
//! Nothing is here yet: realms cannot be created so far.
