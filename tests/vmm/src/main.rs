// SPDX-License-Identifier: GPL-2.0

//! The program: see `--help`.

fn main() {}
