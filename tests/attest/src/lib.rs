// SPDX-License-Identifier: GPL-2.0

//! Attestation from the outside: what whoever deploys a realm works out beforehand ([`rim`]), and checks
//! in the token that the realm hands out ([`token`], [`verify`]).
//!
//! All of it follows the RMM specification and the CCA token's (draft-ffm-rats-cca-token), and shares no
//! code with the RMM or the component: it is there to find out whether these do what they should.

pub mod hash;
pub mod rim;
pub mod token;
pub mod verify;

mod claims;
