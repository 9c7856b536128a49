// SPDX-License-Identifier: GPL-2.0

//! The life of a realm: its states, its parameters, and taking it apart.
//!
//! Nothing is here yet: realms cannot be created so far.
