// SPDX-License-Identifier: GPL-2.0

//! The tests: which mutants each of them reaches, and whether one of them notices.

use crate::tree::{Mutant, Result, Tree};
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

/// Schedules of a scenario that are tried before the long tests are.
const FEW_SCHEDULES: u32 = 20;

/// Tests come in this order: those that take no longer than this, than this, ...
const QUICK: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(250),
];

/// Seconds after which a test takes long, whatever it reaches.
const LONG: u64 = 3;

/// CPU seconds that tests may take more than four times what they take as a rule: what takes longer
/// never ends.
const PATIENCE: u64 = 5;

/// What came of a mutant.
pub(crate) enum Outcome {
    /// A test failed: this one.
    Caught(String),
    /// The tests did not end.
    Endless,
    /// The compiler does not take it.
    Unviable,
    /// No test gets there.
    Unreached,
    /// All tests passed.
    Survived,
}

impl Outcome {
    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Caught(_) => "caught",
            Self::Endless => "endless",
            Self::Unviable => "unviable",
            Self::Unreached => "unreached",
            Self::Survived => "survived",
        }
    }
}

/// What the processes that were waited for have had of the CPU, in ticks of 10 ms (proc_pid_stat(5)).
fn spent() -> Result<Duration> {
    let stat =
        fs::read_to_string("/proc/self/stat").map_err(|e| format!("/proc/self/stat: {e}"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split(' ');
    let ticks = fields
        .skip(14)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok());
    Ok(Duration::from_millis(10 * ticks.sum::<u64>()))
}

struct Test {
    name: String,
    explores: bool,
    /// CPU time.
    takes: Duration,
    reaches: BTreeSet<usize>,
}

/// The test programs of a tree, and what is known of their tests.
pub(crate) struct Tests {
    programs: [PathBuf; 2],
    tests: Vec<Test>,
    /// Schedules of a scenario that are tried at last, with all tests that take long; 0 for none of that.
    schedules: u32,
}

/// Builds the test programs: those of `tests/host` and `tests/explore`. `None` if they do not compile.
fn build(tree: &Tree, built: Option<usize>) -> Result<Option<[PathBuf; 2]>> {
    let mut cargo = tree.cargo(&["test", "--no-run", "--test", "host", "--test", "explore"]);
    if let Some(built) = built {
        cargo.env("MUTANT_BUILT", built.to_string());
    }
    let out = cargo.output().map_err(|e| format!("cargo: {e}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        return match built {
            Some(_) => Ok(None),
            None => Err(format!("the tests do not compile:\n{said}")),
        };
    }
    let program = |name: &str| {
        let line = said.lines().find(|line| line.contains(name));
        let path = line.and_then(|line| line.split(['(', ')']).nth(1));
        path.map(PathBuf::from).ok_or("cargo names no program")
    };
    Ok(Some([
        program("tests/host/main.rs")?,
        program("tests/explore/main.rs")?,
    ]))
}

impl Tests {
    /// Builds the tests and has each of them run. At last `schedules` of each scenario will be tried.
    ///
    /// # Errors
    ///
    /// In words. That one fails without any mutant is among them.
    pub(crate) fn new(tree: &Tree, scratch: &Path, schedules: u32) -> Result<Self> {
        let programs = build(tree, None)?.ok_or("the tests do not compile")?;
        let mut tests = Vec::new();
        for (program, explores) in programs.iter().zip([false, true]) {
            let list = Command::new(program)
                .args(["--list", "--format", "terse"])
                .output()
                .map_err(|e| e.to_string())?;
            for name in String::from_utf8_lossy(&list.stdout).lines() {
                let Some(name) = name.strip_suffix(": test") else {
                    continue;
                };
                let _ = fs::remove_file(scratch);
                let begin = spent()?;
                // Who does without long tests does not wait for their end either.
                let seconds = if schedules == 0 { LONG } else { 600 };
                let out = command(program, &[name], FEW_SCHEDULES, seconds)
                    .env("MUTANTS_REACHED", scratch)
                    .output()
                    .map_err(|e| e.to_string())?;
                if schedules == 0 && is_endless(&out) {
                    continue;
                }
                if !out.status.success() {
                    return Err(format!("{name} fails without any mutant"));
                }
                let reached = fs::read_to_string(scratch).unwrap_or_default();
                tests.push(Test {
                    name: name.into(),
                    explores,
                    takes: spent()? - begin,
                    reaches: reached.lines().map(|n| n.parse().unwrap()).collect(),
                });
            }
        }
        Ok(Self {
            programs,
            tests,
            schedules,
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.tests.len()
    }

    /// Has the tests look for a mutant.
    ///
    /// # Errors
    ///
    /// In words.
    pub(crate) fn look_for(&self, tree: &Tree, n: usize, mutant: &Mutant) -> Result<Outcome> {
        if !mutant.viable {
            return Ok(Outcome::Unviable);
        }
        if mutant.constant {
            return match build(tree, Some(n))? {
                Some(programs) => self.in_stages(&programs, n, |_| true),
                None => Ok(Outcome::Unviable),
            };
        }
        if !self.tests.iter().any(|test| test.reaches.contains(&n)) {
            return Ok(Outcome::Unreached);
        }
        self.in_stages(&self.programs, n, |test| test.reaches.contains(&n))
    }

    fn in_stages(
        &self,
        programs: &[PathBuf; 2],
        n: usize,
        reaches: impl Fn(&Test) -> bool,
    ) -> Result<Outcome> {
        // Whether it explores, how long it takes, with how many schedules.
        let mut stages = Vec::new();
        let mut from = Duration::ZERO;
        for to in QUICK {
            stages.push((false, from..to, 0));
            stages.push((true, from..to, FEW_SCHEDULES));
            from = to;
        }
        if self.schedules != 0 {
            stages.push((false, from..Duration::MAX, 0));
            stages.push((true, Duration::ZERO..Duration::MAX, self.schedules));
        }
        for (explores, takes, schedules) in stages {
            let belongs = |test: &Test| test.explores == explores && takes.contains(&test.takes);
            let tests: Vec<_> = self
                .tests
                .iter()
                .filter(|test| belongs(test) && reaches(test))
                .collect();
            let Some(first) = tests.first() else {
                continue;
            };
            let takes: Duration = tests.iter().map(|test| test.takes).sum();
            let more = u64::from((schedules / FEW_SCHEDULES).max(1));
            let seconds = PATIENCE + 4 * more * takes.as_secs();
            let names: Vec<_> = tests.iter().map(|test| &*test.name).collect();
            let program = &programs[usize::from(first.explores)];
            match run(command(program, &names, schedules, seconds), n)? {
                Outcome::Survived => {}
                outcome => return Ok(outcome),
            }
        }
        Ok(Outcome::Survived)
    }
}

/// Some tests, one after another until one fails, with so many CPU seconds to do it in and not all of the
/// machine's memory.
fn command(program: &Path, names: &[&str], schedules: u32, seconds: u64) -> Command {
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--cpu={seconds}"))
        .arg("--as=8000000000")
        .arg("--core=0")
        .args(["timeout", "1200"])
        .arg(program)
        .args(["--exact", "--test-threads", "1"])
        // The test harness keeps this one for itself, as yet.
        .args(["-Z", "unstable-options", "--fail-fast"])
        .args(names)
        // What they write about a failure is not for the repository.
        .current_dir(program.parent().unwrap_or(Path::new("/")))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("EXPLORE_SCHEDULES", schedules.to_string())
        .stdin(Stdio::null());
    command
}

/// True if tests were stopped because they took too long: `timeout` says so, or that SIGKILL or SIGXCPU
/// has come.
fn is_endless(out: &Output) -> bool {
    matches!(out.status.code(), Some(124 | 137 | 152) | None)
}

fn run(mut command: Command, n: usize) -> Result<Outcome> {
    let out = command
        .env("MUTANT", n.to_string())
        .output()
        .map_err(|e| format!("prlimit: {e}"))?;
    if out.status.success() {
        return Ok(Outcome::Survived);
    }
    if is_endless(&out) {
        return Ok(Outcome::Endless);
    }
    let said = String::from_utf8_lossy(&out.stdout);
    let failed = said.lines().find_map(|line| {
        let name = line.strip_prefix("test ")?;
        name.strip_suffix(" ... FAILED")
    });
    Ok(Outcome::Caught(failed.unwrap_or("an abort").into()))
}

/// Counts outcomes.
#[derive(Default)]
pub(crate) struct Sum(HashMap<&'static str, usize>);

impl Sum {
    /// One more.
    pub(crate) fn add(&mut self, outcome: &'static str) {
        *self.0.entry(outcome).or_default() += 1;
    }

    /// How many there are.
    pub(crate) fn of(&self, outcome: &str) -> usize {
        self.0.get(outcome).copied().unwrap_or(0)
    }
}
