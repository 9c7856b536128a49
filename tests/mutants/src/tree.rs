// SPDX-License-Identifier: GPL-2.0

//! A copy of the repository that has all mutants in it.

use crate::{
    find::{self, Site},
    write::{self, Place},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What is changed, where there is most to find first.
const FOLDERS: [&str; 7] = ["mmu", "guest_memfd", "rec", "realm", "exit", "rmi", "uapi"];

/// Result of what is not expected to fail: in words.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// A mutant.
pub(crate) struct Mutant {
    /// Where it is and what it does: the same as long as the code is.
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) line: usize,
    /// It has to be compiled on its own.
    pub(crate) constant: bool,
    /// The compiler takes it.
    pub(crate) viable: bool,
}

struct File {
    name: String,
    source: String,
    sites: Vec<Site>,
    first: usize,
}

/// The copy.
pub(crate) struct Tree {
    dir: PathBuf,
    files: Vec<File>,
    pub(crate) mutants: Vec<Mutant>,
}

fn rust_files(dir: &Path, out: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, out)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.insert(path);
        }
    }
    Ok(())
}

impl Tree {
    /// Finds the mutants of a tree that has none in it yet.
    ///
    /// # Errors
    ///
    /// In words.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let mut paths = Vec::new();
        for folder in FOLDERS {
            let mut files = BTreeSet::new();
            rust_files(&dir.join(folder), &mut files).map_err(|e| format!("{folder}: {e}"))?;
            paths.extend(files);
        }
        let mut tree = Self {
            dir: dir.into(),
            files: vec![],
            mutants: vec![],
        };
        let mut seen = HashMap::new();
        for path in paths {
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            let source = fs::read_to_string(&path).map_err(|e| format!("{name}: {e}"))?;
            let sites = find::sites(&source).map_err(|e| format!("{name}: {e}"))?;
            let first = tree.mutants.len();
            for site in &sites {
                for change in &site.changes {
                    let mut what = format!("{name} {}: {}", site.function, change.what);
                    let times = seen.entry(what.clone()).or_insert(0);
                    *times += 1;
                    if *times > 1 {
                        what += &format!(" ({times})");
                    }
                    tree.mutants.push(Mutant {
                        name: what,
                        file: name.clone(),
                        line: site.line,
                        constant: site.constant,
                        viable: true,
                    });
                }
            }
            tree.files.push(File {
                name,
                source,
                sites,
                first,
            });
        }
        Ok(tree)
    }

    /// A command in the tree.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(args).args(["--locked", "-p", "kvm_arm_rmi"]);
        cargo.current_dir(&self.dir);
        // Odd expressions are to be expected, and nobody looks at them with a debugger.
        cargo.env("RUSTFLAGS", "--cap-lints allow");
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
        cargo.env("CARGO_PROFILE_TEST_DEBUG", "0");
        cargo
    }

    /// Writes all mutants that compile, and finds out which they are.
    ///
    /// # Errors
    ///
    /// In words, what the compiler says that is not about a mutant included.
    pub(crate) fn write(&mut self) -> Result {
        let lib = self.dir.join("rust/lib.rs");
        let text = fs::read_to_string(&lib).map_err(|e| format!("rust/lib.rs: {e}"))?
            + "\n#[path = \"../tests/mutants/switch.rs\"]\npub mod mutants;\n";
        fs::write(&lib, text).map_err(|e| format!("rust/lib.rs: {e}"))?;
        loop {
            let mut written = HashMap::new();
            for file in &self.files {
                let left_out = |mutant: usize| !self.mutants[mutant].viable;
                let (text, places) = write::write(&file.source, &file.sites, file.first, left_out);
                fs::write(self.dir.join(&file.name), &text)
                    .map_err(|e| format!("{}: {e}", file.name))?;
                written.insert(file.name.clone(), (text, places));
            }
            let mut cargo = self.cargo(&["check", "--lib", "--features", "model", "--quiet"]);
            let out = cargo.args(["--message-format", "short"]).output();
            let out = out.map_err(|e| format!("cargo: {e}"))?;
            if out.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&out.stderr);
            let refused: BTreeSet<_> = said
                .lines()
                .filter_map(error_at)
                .flat_map(|(file, line, column)| match written.get(&file) {
                    Some((text, places)) => refused(text, places, line, column),
                    None => vec![],
                })
                .collect();
            if refused.is_empty() {
                return Err(format!("the tree does not compile:\n{said}"));
            }
            for mutant in refused {
                self.mutants[mutant].viable = false;
            }
        }
    }

    /// How many mutants a file has.
    pub(crate) fn count(&self) -> BTreeMap<&str, usize> {
        let mut count = BTreeMap::new();
        for mutant in &self.mutants {
            *count.entry(&*mutant.file).or_default() += 1;
        }
        count
    }
}

/// File, line and column of an error message.
fn error_at(line: &str) -> Option<(String, usize, usize)> {
    let mut parts = line.splitn(4, ':');
    let file = parts.next()?;
    let at = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    if !parts.next()?.trim_start().starts_with("error") {
        return None;
    }
    Some((file.replace("rust/../", ""), at.0, at.1))
}

/// The mutants that an error is about: the one that is there, or else those around it, or else the one
/// before it (without which something has no value there).
fn refused(text: &str, places: &[Place], line: usize, column: usize) -> Vec<usize> {
    let start: usize = text
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum();
    let within = text[start..].char_indices().nth(column - 1);
    let at = start + within.map_or(0, |(at, _)| at);
    if let Some(place) = places.iter().find(|place| place.own.contains(&at)) {
        return vec![place.mutant];
    }
    let around = places.iter().filter(|place| place.whole.contains(&at));
    let Some(least) = around.clone().map(|place| place.whole.len()).min() else {
        let before = places.iter().filter(|place| place.own.end <= at);
        let nearest = before.max_by_key(|place| place.own.end);
        return nearest.map(|place| place.mutant).into_iter().collect();
    };
    around
        .filter(|place| place.whole.len() == least)
        .map(|place| place.mutant)
        .collect()
}
