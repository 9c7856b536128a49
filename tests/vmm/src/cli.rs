// SPDX-License-Identifier: GPL-2.0

//! What the program is told to do: to run a guest, or something about its attestation.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::args::{self, Args, Hash, Rpv};

/// Boots Linux in a realm
#[derive(Clone, PartialEq, Eq, Debug, Parser)]
#[command(
    name = "realm-vmm",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do instead of running a guest.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to run.
    #[command(flatten)]
    pub run: Option<Args>,
}

/// What there is to do besides.
#[derive(Clone, PartialEq, Eq, Debug, Subcommand)]
pub enum Command {
    /// Print how the realm is measured that these options would run
    Measure(Measure),
    /// Say whether an attestation token is what it should be
    Verify(Verify),
}

const MEASURE_HELP: &str = "\
Prints the hash algorithm, the realm initial measurement (rim) and the realm personalisation value (rpv) of
the realm that a run with the same options makes; the files are read, and nothing is run. The measurement is
worked out here, and not asked of anybody.

Five things depend on the host, unless they are given: --hash, --sve-bits, --breakpoints and --watchpoints,
and whether its RMM speaks RMI 1.0: --rmi-1-0. If one of the first four is missing, a VM is made by /dev/kvm
to see what a realm of this host would have. If all are given this works on any machine.";

/// Options of `measure`.
#[derive(Clone, PartialEq, Eq, Debug, clap::Args)]
#[command(after_help = MEASURE_HELP)]
pub struct Measure {
    /// The run.
    #[command(flatten)]
    pub run: Args,

    /// Bits of the realm's longest SVE vector, or 0 if it has no SVE
    #[arg(long, value_name = "BITS", value_parser = sve_bits, help_heading = "The host")]
    pub sve_bits: Option<u64>,

    /// How many breakpoints the realm has
    #[arg(long, value_name = "N", help_heading = "The host",
        value_parser = clap::value_parser!(u64).range(1..=64))]
    pub breakpoints: Option<u64>,

    /// How many watchpoints the realm has
    #[arg(long, value_name = "N", help_heading = "The host",
        value_parser = clap::value_parser!(u64).range(1..=64))]
    pub watchpoints: Option<u64>,

    /// The RMM speaks RMI 1.0, which measures what is RAM as well
    #[arg(long = "rmi-1-0", help_heading = "The host")]
    pub rmi_1_0: bool,
}

const VERIFY_HELP: &str = "\
Takes a CCA attestation token apart and checks its form, that the platform's claims are signed by a platform
that is trusted and is secured, that the platform vouches for the key that signs the realm's claims, and that
the realm has not extended its measurements; and what the options say. What the token says, and then all that
is wrong with it, is printed.

Exit status: 0 all is as it should be, 1 something is wrong, 2 wrong arguments.";

/// Options of `verify`.
#[derive(Clone, PartialEq, Eq, Debug, clap::Args)]
#[command(after_help = VERIFY_HELP, args_override_self = true)]
pub struct Verify {
    /// The token
    #[arg(value_name = "FILE")]
    pub token: PathBuf,

    /// The public key of a platform that is trusted: PEM, on P-384. For each such key once
    #[arg(
        long = "platform-key",
        value_name = "FILE",
        required_unless_present = "any_platform"
    )]
    pub platform_keys: Vec<PathBuf>,

    /// Trust whatever platform it is: then the token proves no more than that its parts belong together
    #[arg(long, conflicts_with = "platform_keys")]
    pub any_platform: bool,

    /// What the realm was asked to show: up to 64 bytes in hexadecimal; zeroes follow
    #[arg(long, value_name = "HEX", value_parser = args::rpv)]
    pub challenge: Option<Rpv>,

    /// How the realm is to be measured
    #[arg(long, value_enum)]
    pub hash: Option<Hash>,

    /// The realm initial measurement, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = rim)]
    pub rim: Option<Rim>,

    /// The realm personalisation value, as for a run
    #[arg(long, value_name = "HEX", value_parser = args::rpv)]
    pub rpv: Option<Rpv>,
}

/// A measurement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rim(pub Vec<u8>);

fn rim(text: &str) -> Result<Rim, String> {
    args::hex(text, 64).map(Rim)
}

fn sve_bits(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(bits) if bits % 128 == 0 && bits <= 2048 => Ok(bits),
        _ => Err("not a multiple of 128, up to 2048".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(words: &[&str]) -> Option<Cli> {
        Cli::try_parse_from(["realm-vmm"].iter().chain(words)).ok()
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_needs_no_command() {
        let cli = parse(&["--kernel", "k", "--cpus", "2"]).unwrap();
        assert_eq!(cli.command, None);
        assert_eq!(cli.run.unwrap().cpus, 2);
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&["--cpus", "2"]), None);
    }

    #[test]
    fn measure_takes_what_a_run_takes() {
        let words = [
            "measure",
            "--kernel",
            "k",
            "--memory",
            "64",
            "--sve-bits",
            "256",
        ];
        let cli = parse(&words).unwrap();
        assert_eq!(cli.run, None);
        let Some(Command::Measure(measure)) = cli.command else {
            panic!("{:?}", cli.command);
        };
        assert_eq!(
            (measure.run.memory, measure.sve_bits),
            (64 << 20, Some(256))
        );
        assert_eq!(measure.breakpoints, None);
        assert_eq!(parse(&["measure"]), None);
        for (option, bad) in [
            ("--sve-bits", "100"),
            ("--sve-bits", "4096"),
            ("--breakpoints", "0"),
            ("--watchpoints", "65"),
        ] {
            assert_eq!(parse(&["measure", "--kernel", "k", option, bad]), None);
        }
    }

    #[test]
    fn verify_wants_to_know_whom_to_trust() {
        assert_eq!(parse(&["verify", "t"]), None);
        assert!(parse(&["verify", "t", "--any-platform"]).is_some());
        let keys = ["verify", "t", "--platform-key", "a", "--platform-key", "b"];
        assert!(parse(&keys).is_some());
        let both = ["verify", "t", "--platform-key", "a", "--any-platform"];
        assert_eq!(parse(&both), None);
        let rim = ["verify", "t", "--any-platform", "--rim", "0g"];
        assert_eq!(parse(&rim), None);
    }
}
