// SPDX-License-Identifier: GPL-2.0

//! KVM, and what is different about a realm.
//!
//! Read it in the order of a realm's life: [`host`] asks whether there can be one, [`vm`] makes it
//! and its memory, [`cpu`] makes its CPUs, [`populate`] gives it contents, [`prefault`] all of its memory, [`exits`] runs
//! it, [`convert`] moves its memory between private and shared, and [`run`] does all of that and
//! ends it. [`devices`] and [`threads`] are what any VMM has. `uapi/README.md` says what each ioctl means.
//!
//! An ordinary VM goes the same way: what only a realm needs asks for [`vm::Vm::private`].

pub mod attributes;
pub mod component;
pub mod convert;
pub mod cpu;
pub mod devices;
pub mod exits;
pub mod host;
pub mod measured;
pub mod populate;
pub mod prefault;
pub mod run;
pub mod threads;
pub mod vm;
