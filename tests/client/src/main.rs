// SPDX-License-Identifier: GPL-2.0

//! Runs in a test host under emulation, statically linked, and does there what user space can do.
//!
//! Each subcommand is one test: it says what it sees, and its exit status is the result.

#[cfg(target_arch = "aarch64")]
mod counted;
#[cfg(target_arch = "aarch64")]
mod devmem;
#[cfg(target_arch = "aarch64")]
mod elf_core;
#[cfg(target_arch = "aarch64")]
mod gpf;
#[cfg(target_arch = "aarch64")]
mod guest;
#[cfg(target_arch = "aarch64")]
mod kexec;
#[cfg(target_arch = "aarch64")]
mod realm;
#[cfg(target_arch = "aarch64")]
mod state;
#[cfg(target_arch = "aarch64")]
mod vmcore;

#[cfg(target_arch = "aarch64")]
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["capability", number] => guest::capability(number),
        ["vm", kind] => guest::make(kind),
        ["guest"] => guest::run(),
        ["gpf"] => gpf::run(),
        ["counted", name, ref command @ ..] => counted::run(name, command),
        ["state"] => state::print(),
        ["conformance", ref options @ ..] => {
            realm::conformance::main(options).map_err(|error| -> Box<dyn std::error::Error> { error })
        }
        ["kexec", ref arguments @ ..] => kexec::run(arguments),
        ["vmcore", held, count, image] => vmcore::run(held, count, image),
        ["vmcore", "realms"] => vmcore::realms(),
        ["realm", ref arguments @ ..] => {
            realm::main(arguments).map_err(|error| -> Box<dyn std::error::Error> { error })
        }
        _ => Err(
            "usage: rmi-client capability NUMBER | vm TYPE | guest | gpf | counted EVENT COMMAND... | state | conformance [--mode v14|v15] | kexec ... | vmcore ... | realm ..."
                .into(),
        ),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rmi-client: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_arch = "aarch64"))]
fn main() {
    eprintln!("rmi-client: runs on arm64 hosts only");
    std::process::exit(1);
}
