// SPDX-License-Identifier: GPL-2.0

//! How a realm is measured, without making it.

use std::fmt;

use realm_attest::hash::Hash;
use realm_attest::rim::{Params, Rim, PAGE};
use realm_attest::verify::hex;
use vm_memory::{Bytes, GuestAddress};

use crate::args::Args;
use crate::cli::Measure;
use crate::error::{Error, Result};
use crate::layout;
use crate::load::load;
use crate::memory::Memory;

/// What a realm's measurement depends on that its VMM leaves to the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host {
    /// How realms are measured.
    pub hash: Hash,
    /// Bits of the longest SVE vector, or 0.
    pub sve_bits: u64,
    /// Breakpoints.
    pub breakpoints: u64,
    /// Watchpoints.
    pub watchpoints: u64,
    /// The RMM speaks RMI 1.0, which measures what is RAM as well.
    pub rmi_1_0: bool,
}

/// How a realm is measured, and what is attested beside that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measured {
    /// By which algorithm.
    pub hash: Hash,
    /// The realm initial measurement.
    pub rim: Vec<u8>,
    /// The realm personalisation value.
    pub rpv: [u8; 64],
}

impl fmt::Display for Measured {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "hash {}", self.hash.name())?;
        writeln!(to, "rim {}", hex(&self.rim))?;
        writeln!(to, "rpv {}", hex(&self.rpv))
    }
}

/// Carries out `measure`.
///
/// # Errors
///
/// A file is not what it should be, or something is not known that only a host with realms could tell.
pub fn main(options: &Measure) -> Result<Measured> {
    if !options.run.is_realm() {
        return Err(Error::plain("an ordinary VM is not measured").advise("leave out --no-realm"));
    }
    let given = given(options);
    let host = match given {
        Some(host) => host,
        None => {
            let asked = ask(&options.run)?;
            Host {
                hash: options.run.hash.map_or(asked.hash, Hash::from),
                sve_bits: options.sve_bits.unwrap_or(asked.sve_bits),
                breakpoints: options.breakpoints.unwrap_or(asked.breakpoints),
                watchpoints: options.watchpoints.unwrap_or(asked.watchpoints),
                rmi_1_0: options.rmi_1_0 || asked.rmi_1_0,
            }
        }
    };
    measure(&options.run, &host)
}

/// What the host has, if all of that is given.
fn given(options: &Measure) -> Option<Host> {
    Some(Host {
        hash: options.run.hash?.into(),
        sve_bits: options.sve_bits?,
        breakpoints: options.breakpoints?,
        watchpoints: options.watchpoints?,
        rmi_1_0: options.rmi_1_0,
    })
}

/// # Errors
///
/// The host has no realms.
#[cfg(target_arch = "aarch64")]
fn ask(args: &Args) -> Result<Host> {
    crate::kvm::measured::ask(args)
}

/// # Errors
///
/// Always: this is no host that has realms.
#[cfg(not(target_arch = "aarch64"))]
fn ask(_: &Args) -> Result<Host> {
    Err(
        Error::plain("only an arm64 host can be asked what its realms have")
            .advise("give all of --hash, --sve-bits, --breakpoints and --watchpoints"),
    )
}

/// How a realm is measured that a host runs with `args`: what is loaded page by page in the order in which
/// it is populated, and then the one CPU that is on at first.
///
/// # Errors
///
/// A file is not what it should be, or there is too little memory.
pub fn measure(args: &Args, host: &Host) -> Result<Measured> {
    let memory = Memory::new(args.memory)?;
    let loaded = load(&memory, args)?;
    let memory = memory.seen_with(0)?;
    let params = Params {
        ipa_bits: layout::ipa_bits(args.memory),
        sve_quadwords: host.sve_bits / 128,
        breakpoints: host.breakpoints,
        watchpoints: host.watchpoints,
        pmu_counters: args.pmu,
    };
    let mut rim = Rim::new(host.hash, &params);
    let mut page = [0; PAGE];
    for range in loaded.ranges {
        for ipa in range.step_by(PAGE) {
            let read = memory.read_slice(&mut page, GuestAddress(ipa));
            read.map_err(|e| Error::new("guest memory", e))?;
            rim.page(ipa, Some(&page));
        }
    }
    rim.rec(loaded.entry, loaded.fdt);
    if host.rmi_1_0 {
        rim.ram(layout::RAM..layout::RAM.saturating_add(args.memory));
    }
    Ok(Measured {
        hash: host.hash,
        rim: rim.value().to_vec(),
        rpv: args.rpv.map_or([0; 64], |rpv| rpv.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::fs;

    const HOST: Host = Host {
        hash: Hash::Sha256,
        sve_bits: 0,
        breakpoints: 6,
        watchpoints: 4,
        rmi_1_0: false,
    };

    /// A kernel that can be loaded, and a disk for it, in a directory of their own.
    struct Files(std::path::PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("measure-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            let mut image = vec![0; PAGE + 100];
            image[16..24].copy_from_slice(&0x1_0000u64.to_le_bytes());
            image[56..60].copy_from_slice(b"ARMd");
            fs::write(path.join("kernel"), image).unwrap();
            fs::write(path.join("initrd"), [7; 3 * PAGE]).unwrap();
            Self(path)
        }

        fn args(&self, more: &[&str]) -> Args {
            let file = |name| self.0.join(name).display().to_string();
            let mut words = vec!["realm-vmm".to_string(), "--kernel".into(), file("kernel")];
            words.extend(["--initrd".to_string(), file("initrd")]);
            words.extend(more.iter().map(|word| word.to_string()));
            Args::try_parse_from(words).unwrap()
        }

        fn rim(&self, more: &[&str]) -> Vec<u8> {
            measure(&self.args(more), &HOST).unwrap().rim
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn page_by_page_in_order() {
        let files = Files::new("order");
        let args = files.args(&["--memory", "64", "--pmu", "6"]);
        let measured = measure(&args, &HOST).unwrap();

        let tree = {
            let mut machine = crate::machine::machine(&args).unwrap();
            machine.initrd = 0x4060_0000 - 0x20_0000..0x4060_0000 - 0x20_0000 + 3 * PAGE as u64;
            crate::fdt::build(&machine).unwrap()
        };
        let mut rim = Rim::new(
            Hash::Sha256,
            &Params {
                ipa_bits: 32,
                sve_quadwords: 0,
                breakpoints: 6,
                watchpoints: 4,
                pmu_counters: Some(6),
            },
        );
        let mut add = |at: u64, bytes: &[u8]| {
            for (n, part) in (0..).zip(bytes.chunks(PAGE)) {
                let mut page = [0; PAGE];
                page[..part.len()].copy_from_slice(part);
                rim.page(at + n * PAGE as u64, Some(&page));
            }
        };
        add(layout::RAM, &fs::read(&args.kernel).unwrap());
        add(layout::RAM + 0x20_0000, &tree);
        add(layout::RAM + 0x40_0000, &[7; 3 * PAGE]);
        rim.rec(layout::RAM, layout::RAM + 0x20_0000);
        assert_eq!(hex(&measured.rim), hex(rim.value()));
        assert_eq!(measured.rpv, [0; 64]);
    }

    #[test]
    fn what_the_guest_is_told_counts_and_nothing_else() {
        let files = Files::new("counts");
        let plain = files.rim(&[]);
        assert_eq!(plain, files.rim(&["--quiet", "--prefault", "--rpv", "01"]));
        for more in [
            ["--memory", "1024"],
            ["--memory", "4096"],
            ["--cpus", "2"],
            ["--cmdline", "quiet"],
            ["--disk", "d"],
            ["--console", "serial"],
            ["--pmu", "1"],
        ] {
            assert_ne!(plain, files.rim(&more), "{more:?}");
        }
        assert_ne!(files.rim(&["--pmu", "1"]), files.rim(&["--pmu", "2"]));
        let args = files.args(&[]);
        for host in [
            Host {
                sve_bits: 128,
                ..HOST
            },
            Host {
                breakpoints: 5,
                ..HOST
            },
            Host {
                watchpoints: 5,
                ..HOST
            },
            Host {
                hash: Hash::Sha384,
                ..HOST
            },
            Host {
                rmi_1_0: true,
                ..HOST
            },
        ] {
            assert_ne!(plain, measure(&args, &host).unwrap().rim, "{host:?}");
        }
    }

    #[test]
    fn the_host_is_asked_for_what_is_missing_only() {
        let files = Files::new("given");
        let mut options = Measure {
            run: files.args(&["--hash", "sha512", "--rpv", "ab"]),
            sve_bits: Some(2048),
            breakpoints: Some(2),
            watchpoints: Some(2),
            rmi_1_0: false,
        };
        let measured = main(&options).unwrap();
        assert_eq!(
            (measured.hash, measured.rpv[..2].to_vec()),
            (Hash::Sha512, vec![0xab, 0])
        );
        assert_eq!(measured.rim.len(), 64);
        options.run = files.args(&["--no-realm"]);
        assert!(main(&options).unwrap_err().to_string().contains("ordinary"));
        options.run = files.args(&[]);
        assert_eq!(given(&options), None);
    }
}
