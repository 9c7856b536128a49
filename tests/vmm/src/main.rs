// SPDX-License-Identifier: GPL-2.0

//! The program: see `--help`.

#[cfg(target_arch = "aarch64")]
fn main() {
    use clap::error::ErrorKind;
    use clap::{CommandFactory, Parser};
    use realm_vmm::args::Args;
    use realm_vmm::{end, kvm};

    let args = Args::parse();
    if let Err(error) = args.check() {
        Args::command()
            .error(ErrorKind::ValueValidation, error)
            .exit();
    }
    let status = match kvm::run::run(&args) {
        Ok(end) => {
            if !args.quiet {
                eprintln!("realm-vmm: {end}");
            }
            end.status()
        }
        Err(error) => {
            eprintln!("realm-vmm: {error}");
            end::FAILED
        }
    };
    // The threads that wait for input and signals would wait for ever.
    std::process::exit(status);
}

#[cfg(not(target_arch = "aarch64"))]
fn main() {
    eprintln!("realm-vmm: runs on arm64 hosts only");
    std::process::exit(1);
}
