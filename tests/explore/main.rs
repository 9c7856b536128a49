// SPDX-License-Identifier: GPL-2.0

//! Schedules of the component's parts, explored: each scenario is a VM of which several things are
//! asked at once, in orders that a seed chooses. A failure names its seed; `EXPLORE_SEED` makes it the
//! only one that is tried, and `EXPLORE_SECONDS` says how long a scenario is explored (300 schedules
//! otherwise, in 4 seconds at most) or `EXPLORE_SCHEDULES` how many schedules of it are.
//!
//! Beside those there are whole lives of VMs, one thing after the other, on an RMM that goes wrong.

#![allow(unreachable_pub, reason = "a program of its own")]

mod firmware;
mod injection;
mod lives;
#[path = "../rmm/tests/common/mod.rs"]
mod rmm_machine;
mod scenarios;
mod world;

use shuttle::scheduler::{PctScheduler, RandomScheduler, RoundRobinScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Explores a scenario.
fn explore(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    let (asked, count) = (number("EXPLORE_SECONDS"), number("EXPLORE_SCHEDULES"));
    let time = asked.or(count.map(|_| u64::MAX)).unwrap_or(4);
    let time = Duration::from_secs(time);
    // The same ones each time, unless somebody wants to find more.
    let most = count.unwrap_or(asked.map_or(300, |_| u64::MAX));
    let only = number("EXPLORE_SEED");
    let begin = Instant::now();
    let mut seed = only.unwrap_or(0);
    loop {
        let scenario = scenario.clone();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| once(seed, scenario))) {
            eprintln!("EXPLORE_SEED={seed} shows this again");
            resume_unwind(panic);
        }
        seed += 1;
        if only.is_some() || seed >= most || begin.elapsed() > time {
            eprintln!("{seed} schedules");
            return;
        }
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::None;
    config
}

/// Runs a test that has one task.
fn alone(test: impl Fn() + Send + Sync + 'static) {
    let mut config = config();
    config.max_steps = MaxSteps::None;
    Runner::new(RoundRobinScheduler::new(1), config).run(test);
}

/// One schedule: by its seed, at random or with few changes from one task to another.
fn once(seed: u64, scenario: impl Fn() + Send + Sync + 'static) {
    let config = config();
    match seed % 4 {
        0 | 1 => {
            let scheduler = RandomScheduler::new_from_seed(seed, 1);
            Runner::new(scheduler, config).run(scenario);
        }
        depth => {
            let scheduler = PctScheduler::new_from_seed(seed, depth as usize, 1);
            Runner::new(scheduler, config).run(scenario);
        }
    }
}
