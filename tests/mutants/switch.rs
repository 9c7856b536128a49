// SPDX-License-Identifier: GPL-2.0

//! Compiled into a component that has all mutants in it at once: which one is in force.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    sync::{Mutex, OnceLock},
};

/// How many mutants there can be.
const MOST: usize = 1 << 16;

/// Whether mutant `n` is in force: `MUTANT` in the environment is its number. With `MUTANTS_REACHED`
/// there, the number of each that is asked for is put down in the file of that name.
pub fn at(n: usize) -> bool {
    static CHOSEN: OnceLock<usize> = OnceLock::new();
    static REACHED: OnceLock<Option<Mutex<(File, Vec<bool>)>>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let number = std::env::var("MUTANT").ok();
        number.map_or(usize::MAX, |number| number.parse().unwrap())
    });
    let reached = REACHED.get_or_init(|| {
        let name = std::env::var_os("MUTANTS_REACHED")?;
        let file = OpenOptions::new().append(true).create(true).open(name);
        Some(Mutex::new((file.unwrap(), vec![false; MOST])))
    });
    if let Some(reached) = reached {
        let (file, seen) = &mut *reached.lock().unwrap();
        if !std::mem::replace(&mut seen[n], true) {
            writeln!(file, "{n}").unwrap();
        }
    }
    *chosen == n
}

/// The same where the compiler has to know: `MUTANT_BUILT` in the environment of the build.
pub const fn built(n: usize) -> bool {
    n == BUILT
}

const BUILT: usize = match option_env!("MUTANT_BUILT") {
    None => usize::MAX,
    Some(text) => {
        let (mut n, mut i) = (0, 0);
        while i < text.len() {
            n = n * 10 + (text.as_bytes()[i] - b'0') as usize;
            i += 1;
        }
        n
    }
};
