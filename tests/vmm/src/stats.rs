// SPDX-License-Identifier: GPL-2.0

//! What happened during a run, counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that any thread may raise.
#[derive(Default, Debug)]
pub struct Count(AtomicU64);

impl Count {
    /// Raises it by `by`.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it to a time.
    pub fn set_time(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.store(microseconds, Ordering::Relaxed);
    }
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// All that is counted.
        #[derive(Default, Debug)]
        pub struct Stats {
            $($(#[$doc])* pub $name: Count,)+
        }

        impl fmt::Display for Stats {
            /// A line for each: its name and its value.
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(writeln!(to, "{} {}", stringify!($name), self.$name.get())?;)+
                Ok(())
            }
        }
    };
}

stats! {
    /// Bytes that were populated.
    populate_bytes,
    /// How long that took.
    populate_microseconds,
    /// From the first KVM_RUN to the end.
    run_microseconds,
    /// Exits for reads of device registers.
    exit_mmio_read,
    /// Exits for writes of device registers.
    exit_mmio_write,
    /// Accesses, among those, where no device is.
    mmio_nobody,
    /// Exits for conversions.
    exit_memory_fault,
    /// Exits for calls that were forwarded to us.
    exit_hypercall,
    /// Exits for an end by PSCI.
    exit_system_event,
    /// Exits of CPUs of a realm that is off.
    exit_shutdown,
    /// KVM_RUN ended by a signal.
    interrupted,
    /// KVM_RUN to be tried again.
    again,
    /// Conversions to shared memory.
    to_shared,
    /// Bytes of these.
    to_shared_bytes,
    /// Conversions to private memory.
    to_private,
    /// Bytes of these.
    to_private_bytes,
    /// Conversions to private memory that were refused.
    rejected,
    /// Calls that gave a realm private memory while it ran, if the component's debugfs can be read.
    private_maps,
    /// Times that we forked while the guest ran.
    forks,
}

impl Stats {
    /// A line for people, without its end; empty if the guest did not get as far.
    pub fn summary(&self) -> String {
        let seconds = |count: &Count| count.get() as f64 / 1e6;
        let mib = |count: &Count| count.get() as f64 / f64::from(1 << 20);
        let mut parts = Vec::new();
        if self.populate_bytes.get() != 0 {
            parts.push(format!(
                "populated {:.1} MiB in {:.1} s",
                mib(&self.populate_bytes),
                seconds(&self.populate_microseconds)
            ));
        }
        if self.run_microseconds.get() != 0 {
            parts.push(format!("ran {:.1} s", seconds(&self.run_microseconds)));
        }
        for (name, count, bytes) in [
            ("shared", &self.to_shared, &self.to_shared_bytes),
            ("private", &self.to_private, &self.to_private_bytes),
        ] {
            if count.get() != 0 {
                parts.push(format!(
                    "{} times to {name}: {:.1} MiB",
                    count.get(),
                    mib(bytes)
                ));
            }
        }
        if self.forks.get() != 0 {
            parts.push(format!("forked {} times", self.forks.get()));
        }
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_says_what_there_was() {
        let stats = Stats::default();
        assert_eq!(stats.summary(), "");
        stats.run_microseconds.set_time(Duration::from_millis(2300));
        assert_eq!(stats.summary(), "ran 2.3 s");
        stats.populate_bytes.add(10 << 20);
        stats.to_shared.add(2);
        stats.to_shared_bytes.add(5 << 19);
        stats.forks.add(7);
        assert_eq!(
            stats.summary(),
            "populated 10.0 MiB in 0.0 s; ran 2.3 s; 2 times to shared: 2.5 MiB; forked 7 times"
        );
    }

    #[test]
    fn lines_of_key_and_value() {
        let stats = Stats::default();
        stats.again.add(2);
        stats.again.add(3);
        stats.run_microseconds.set_time(Duration::from_millis(7));
        let text = stats.to_string();
        assert!(text.lines().any(|line| line == "again 5"));
        assert!(text.lines().any(|line| line == "run_microseconds 7000"));
        assert!(text.lines().all(|line| line.split(' ').count() == 2));
    }
}
