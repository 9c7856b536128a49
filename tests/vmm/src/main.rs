// SPDX-License-Identifier: GPL-2.0

//! The program: see `--help`.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use realm_vmm::args::Args;
use realm_vmm::cli::{Cli, Command};
use realm_vmm::error::Error;
use realm_vmm::{console, end, measure, verify};

fn main() {
    let cli = Cli::parse();
    let status = match (&cli.command, &cli.run) {
        (Some(Command::Measure(options)), _) => {
            check(&options.run);
            match measure::main(options) {
                Ok(measured) => {
                    print!("{measured}");
                    0
                }
                Err(error) => failed(&error),
            }
        }
        (Some(Command::Verify(options)), _) => match verify::main(options) {
            Ok((says, wrong)) => {
                print!("{says}");
                for wrong in &wrong {
                    console::say(wrong);
                }
                if wrong.is_empty() {
                    0
                } else {
                    end::FAILED
                }
            }
            Err(error) => failed(&error),
        },
        (None, Some(args)) => {
            check(args);
            run(args)
        }
        (None, None) => wrong("nothing to run: see --help"),
    };
    // The threads that wait for input and signals would wait for ever.
    std::process::exit(status);
}

/// Ends the program if arguments do not go together.
fn check(args: &Args) {
    if let Err(error) = args.check() {
        wrong(&error);
    }
}

/// Ends the program as clap does.
fn wrong(error: &str) -> ! {
    Cli::command()
        .error(ErrorKind::ValueValidation, error)
        .exit()
}

fn failed(error: &Error) -> i32 {
    console::say(error);
    end::FAILED
}

/// Runs a guest; returns the exit status.
#[cfg(target_arch = "aarch64")]
fn run(args: &Args) -> i32 {
    match realm_vmm::kvm::run::run(args) {
        Ok(end) => {
            if !args.quiet {
                console::say(&end);
            }
            end.status()
        }
        Err(error) => failed(&error),
    }
}

#[cfg(not(target_arch = "aarch64"))]
fn run(_: &Args) -> i32 {
    failed(&Error::plain("guests run on arm64 hosts only"))
}
