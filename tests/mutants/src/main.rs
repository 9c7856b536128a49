// SPDX-License-Identifier: GPL-2.0

//! Mutants: small changes to the component, each of which a test ought to notice. All of them are
//! compiled in at once, and the environment says which one is in force: so each costs what the tests cost
//! that get to it, and no compilation. `scripts/mutants` prepares a copy of the repository for it.

mod changes;
mod find;
mod run;
mod tree;
mod write;

use run::{Outcome, Sum, Tests};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::Write,
    path::Path,
    process::ExitCode,
};
use tree::{Result, Tree};

/// Mutants are tried in so many rounds, each of which goes through all files.
const ROUNDS: u64 = 16;

/// Which mutants are tried.
struct Chosen {
    /// One of so many shares, ...
    every: u64,
    /// ... this one.
    from: u64,
    /// What is in their names.
    part: String,
    /// Those of an earlier run that need not be tried again, ...
    done: HashSet<String>,
    /// ... and those that come first, for nothing had noticed them.
    survived: HashSet<String>,
}

impl Chosen {
    fn contains(&self, name: &str) -> bool {
        number(name) % self.every == self.from
            && name.contains(&self.part)
            && !self.done.contains(name)
    }
}

/// A number that a mutant keeps when others come and go: FNV-1a of its name.
fn number(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    }) >> 32
}

/// The survivors that are no faults: names, each followed by indented lines that say why.
fn explained(text: &str) -> HashSet<&str> {
    text.lines()
        .filter(|line| !line.starts_with([' ', '\t', '#']) && !line.is_empty())
        .collect()
}

/// The names in a list of outcomes: those that were caught or are none, and those that survived. The last
/// line about a name counts.
fn earlier(list: &str) -> (HashSet<String>, HashSet<String>) {
    let mut survived = HashMap::new();
    for line in list.lines() {
        let mut fields = line.split('\t');
        if let (Some(outcome), Some(name)) = (fields.next(), fields.next()) {
            survived.insert(name, matches!(outcome, "survived" | "unreached"));
        }
    }
    let of = |is: bool| {
        let names = survived.iter().filter(|(_, survived)| **survived == is);
        names.map(|(name, _)| (*name).into()).collect()
    };
    (of(false), of(true))
}

fn mutants(args: &[String]) -> Result<bool> {
    let [dir, list, share, part, list_of_earlier, schedules] = args else {
        return Err("mutants TREE LIST SHARE PART EARLIER SCHEDULES".into());
    };
    let share = share.split_once('/').and_then(|(n, of)| {
        let (n, of): (u64, u64) = (n.parse().ok()?, of.parse().ok()?);
        (1..=of).contains(&n).then_some((n - 1, of))
    });
    let (from, every) = share.ok_or("SHARE is n/m, from 1/m to m/m")?;
    let read = |name: &str| fs::read_to_string(name).map_err(|e| format!("{name}: {e}"));
    let (done, survived) = match &**list_of_earlier {
        "" => Default::default(),
        name => earlier(&read(name)?),
    };
    let chosen = Chosen {
        every,
        from,
        part: part.clone(),
        done,
        survived,
    };
    let schedules = schedules.parse().map_err(|_| "SCHEDULES is a number")?;

    let dir = Path::new(dir);
    let survivors = read(&dir.join("tests/mutants/survivors").display().to_string())?;
    let explained = explained(&survivors);
    let mut tree = Tree::new(dir)?;
    eprintln!(
        "  {} mutants, let the compiler see them",
        tree.mutants.len()
    );
    tree.write()?;
    eprintln!("  building the tests and looking which mutants each of them gets to");
    let tests = Tests::new(&tree, &dir.join("reached"), schedules)?;
    let survived = chosen.survived.clone();
    let mut chosen: Vec<_> = tree
        .mutants
        .iter()
        .enumerate()
        .filter(|(_, mutant)| chosen.contains(&mutant.name))
        .collect();
    // What has to be compiled comes last; and what a run has tried that is cut short is of all files.
    chosen.sort_by_key(|(_, mutant)| {
        let is_new = !survived.contains(&mutant.name);
        (mutant.constant, is_new, number(&mutant.name) % ROUNDS)
    });
    eprintln!(
        "  trying {} of {} mutants with {} tests",
        chosen.len(),
        tree.mutants.len(),
        tests.count()
    );

    let mut out = File::create(list).map_err(|e| format!("{list}: {e}"))?;
    let (mut sum, mut of_file) = (Sum::default(), HashMap::<_, Sum>::new());
    let (mut faults, mut no_faults, mut caught_after_all) = (0, 0, vec![]);
    for (n, mutant) in &chosen {
        let outcome = tests.look_for(&tree, *n, mutant)?;
        sum.add(outcome.name());
        of_file
            .entry(&*mutant.file)
            .or_default()
            .add(outcome.name());
        let (file, line) = (&mutant.file, mutant.line);
        let by = match &outcome {
            Outcome::Caught(test) => test,
            _ => "",
        };
        writeln!(
            out,
            "{}\t{}\t{file}:{line}\t{by}",
            outcome.name(),
            mutant.name
        )
        .map_err(|e| format!("{list}: {e}"))?;
        let is_explained = explained.contains(&*mutant.name);
        match outcome {
            Outcome::Survived | Outcome::Unreached if is_explained => no_faults += 1,
            Outcome::Survived | Outcome::Unreached => {
                faults += 1;
                println!("{}: {file}:{line}: {}", outcome.name(), mutant.name);
            }
            Outcome::Unviable => {}
            _ if is_explained => caught_after_all.push(&mutant.name),
            _ => {}
        }
    }

    for (file, count) in tree.count() {
        if let Some(sum) = of_file.get(file) {
            let caught = sum.of("caught") + sum.of("endless");
            let not = sum.of("survived") + sum.of("unreached");
            println!("{file}: {count} mutants, {caught} caught, {not} not");
        }
    }
    for name in caught_after_all {
        println!("is in tests/mutants/survivors, but caught: {name}");
    }
    let caught = sum.of("caught") + sum.of("endless");
    let not = sum.of("survived") + sum.of("unreached");
    println!(
        "{} of {} mutants tried: {} do not compile; {caught} caught ({} of them ran for ever), {not} not \
         ({} that no test gets to): {:.1} % caught. Of those not caught {no_faults} are known to be no \
         faults.",
        chosen.len(),
        tree.mutants.len(),
        sum.of("unviable"),
        sum.of("endless"),
        sum.of("unreached"),
        100.0 * caught as f64 / ((caught + not) as f64).max(1.0),
    );
    Ok(faults == 0)
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match mutants(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}
