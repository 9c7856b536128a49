// SPDX-License-Identifier: GPL-2.0

//! What the VMM is told to do.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::layout::{self, CPU_LIMIT, RAM_UNIT, VIRTIO_LIMIT};

/// Which of the two consoles the guest uses, and gets our input from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Console {
    /// hvc0.
    Virtio,
    /// ttyS0.
    Serial,
}

/// How the guest finds virtio devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Transport {
    /// Each at a fixed address, with an interrupt line of its own.
    Mmio,
    /// On a PCI bus, with MSI-X by way of an ITS.
    Pci,
}

/// A file that the guest sees as a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// The file.
    pub path: PathBuf,
    /// The guest cannot write to it.
    pub read_only: bool,
}

/// How a realm is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a realm's VM says which half of its IPA space memory is used in. The names are those of postings
/// of Linux's C series.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Mode {
    /// By memory attributes.
    #[default]
    V14,
    /// By what is in the guest_memfd and what is mapped; there are no attributes.
    V15,
}

impl From<Hash> for realm_attest::hash::Hash {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256,
            Hash::Sha384 => Self::Sha384,
            Hash::Sha512 => Self::Sha512,
        }
    }
}

/// A realm personalisation value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rpv(pub [u8; 64]);

/// Boots Linux in a realm.
#[derive(Clone, PartialEq, Eq, Debug, Parser)]
#[command(
    name = "realm-vmm",
    version,
    after_help = "The kernel's command line is
  realm:     console=hvc0 panic=-1 swiotlb=8192
  no realm:  console=hvc0 panic=-1
and what --cmdline says, which can give other values for these. swiotlb is in units of 2 KiB: the
memory that a realm shares with its devices, without which none of them works.

SIGUSR1 pauses the guest, SIGUSR2 lets it go on. Its time does not stop meanwhile.

A terminal's keys all go to the guest. Ctrl-A x ends it; Ctrl-A Ctrl-A is one Ctrl-A.

Exit status: 0 the guest turned itself off, 3 it asked for a reset, 4 it crashed, 1 something else
failed, 2 wrong arguments, 128 + N ended by signal N (130 by Ctrl-C, or from the terminal)."
)]
pub struct Args {
    /// The kernel: an uncompressed arm64 Image
    #[arg(long, value_name = "FILE")]
    pub kernel: PathBuf,

    /// The initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,

    /// Where in memory the initial RAM disk is, at any alignment; otherwise it comes after the device
    /// tree
    #[arg(long, value_name = "ADDRESS", value_parser = address, requires = "initrd")]
    pub initrd_at: Option<u64>,

    /// More of the kernel's command line
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub cmdline: String,

    /// Memory: a number of MiB, or one with K, M or G
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = memory)]
    pub memory: u64,

    /// CPUs
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=CPU_LIMIT))]
    pub cpus: u64,

    /// A PMU in each CPU, with so many event counters; without the option there is none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=31))]
    pub pmu: Option<u64>,

    /// A disk; `,ro` after the name lets the guest only read it. For each disk once
    #[arg(long = "disk", value_name = "FILE[,ro]", value_parser = disk)]
    pub disks: Vec<Disk>,

    /// Run the guest in a realm (that is so without the option as well)
    #[arg(long, overrides_with = "no_realm")]
    pub realm: bool,

    /// Run the guest in an ordinary VM
    #[arg(long, overrides_with = "realm")]
    pub no_realm: bool,

    /// Give a realm all of its memory before it starts, so that it need not ask for it
    #[arg(long)]
    pub prefault: bool,

    /// How the realm is measured
    #[arg(long, value_enum)]
    pub hash: Option<Hash>,

    /// The realm personalisation value: up to 64 bytes in hexadecimal, which the attestation token has
    #[arg(long, value_name = "HEX", value_parser = rpv)]
    pub rpv: Option<Rpv>,

    /// How the kernel is told which memory is private
    #[arg(long, value_enum, default_value_t)]
    pub mode: Mode,

    /// Say no to the first N changes of a realm's memory to private memory that it asks for
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub reject: u64,

    /// Test the host: while the guest runs, fork every so many milliseconds. Each child has the guest's
    /// memory as we see it, changes some of its own, and lives for half of that time
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub fork_every: Option<u64>,

    /// How the guest finds its virtio devices
    #[arg(long, value_enum, default_value_t = Transport::Mmio)]
    pub transport: Transport,

    /// The guest's console
    #[arg(long, value_enum, default_value_t = Console::Virtio)]
    pub console: Console,

    /// Show the kernel's messages from the start, by way of the serial port; that is slow
    #[arg(long)]
    pub earlycon: bool,

    /// Say nothing but what goes wrong
    #[arg(long, short)]
    pub quiet: bool,

    /// At the end, write what was counted to a file, a `name value` on each line
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
}

/// Devices besides the disks that are on virtio.
pub const OTHER_VIRTIO: usize = 2;

impl Args {
    /// Whether it is to be a realm.
    pub fn is_realm(&self) -> bool {
        !self.no_realm
    }

    /// What clap cannot check.
    ///
    /// # Errors
    ///
    /// What is wrong, for the user.
    pub fn check(&self) -> Result<(), String> {
        let limit = VIRTIO_LIMIT - OTHER_VIRTIO;
        match self.disks.len() {
            count if count > limit => Err(format!("{count} disks, and {limit} are the most")),
            _ => Ok(()),
        }
    }

    /// The kernel's command line.
    pub fn full_cmdline(&self) -> String {
        let mut words = Vec::new();
        let tty = match self.console {
            Console::Virtio => "hvc0",
            Console::Serial => "ttyS0",
        };
        let mut add = |key: &str, value: &str| {
            let word = format!("{key}={value}");
            let given = |given: &str| given.split('=').next() == Some(key);
            if !self.cmdline.split_whitespace().any(given) {
                words.push(word);
            }
        };
        add("console", tty);
        add("panic", "-1");
        if self.is_realm() {
            add("swiotlb", "8192");
        }
        if self.earlycon {
            // The kernel maps it before it finds out that it is in a realm, or what is shared.
            let shared = match self.is_realm() {
                true => layout::shared_bit(layout::ipa_bits(self.memory)),
                false => 0,
            };
            add(
                "earlycon",
                &format!("uart8250,mmio,{:#x}", layout::SERIAL | shared),
            );
        }
        words.extend(self.cmdline.split_whitespace().map(str::to_string));
        words.join(" ")
    }
}

fn memory(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1 << 20),
    };
    let number: u64 = number.parse().map_err(|_| "not a size".to_string())?;
    match number.checked_mul(unit) {
        Some(size) if size % RAM_UNIT != 0 || size == 0 => {
            Err("not a multiple of 2 MiB".to_string())
        }
        // KVM takes less than 8 TiB in one piece.
        Some(size) if size <= 1 << 42 => Ok(size),
        _ => Err("too much".to_string()),
    }
}

fn address(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").ok_or("not of the form 0x...")?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("not hexadecimal".into());
    }
    u64::from_str_radix(digits, 16).map_err(|error| error.to_string())
}

/// Takes a realm personalisation value, or anything else that has its size.
///
/// # Errors
///
/// What is wrong with it, for the user.
pub fn rpv(text: &str) -> Result<Rpv, String> {
    let mut value = [0; 64];
    let bytes = hex(text, value.len())?;
    value[..bytes.len()].copy_from_slice(&bytes);
    Ok(Rpv(value))
}

/// Takes 1 to `most` bytes in hexadecimal.
///
/// # Errors
///
/// What is wrong with them, for the user.
pub fn hex(text: &str, most: usize) -> Result<Vec<u8>, String> {
    let digits = text.as_bytes();
    if digits.is_empty() || digits.len() % 2 != 0 || digits.len() / 2 > most {
        return Err(format!("1 to {most} bytes, two digits each"));
    }
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| match (digit(pair[0]), digit(pair[1])) {
        // CAST: Two digits make a byte.
        (Some(high), Some(low)) => Ok((high << 4 | low) as u8),
        _ => Err("not hexadecimal".to_string()),
    };
    digits.chunks(2).map(byte).collect()
}

fn disk(text: &str) -> Result<Disk, String> {
    let (path, read_only) = match text.strip_suffix(",ro") {
        Some(path) => (path, true),
        None => (text, false),
    };
    if path.is_empty() {
        return Err("no file".to_string());
    }
    Ok(Disk {
        path: path.into(),
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Args {
        let all = ["realm-vmm", "--kernel", "k"].iter().chain(more);
        Args::try_parse_from(all).unwrap()
    }

    fn refused(more: &[&str]) -> bool {
        let all = ["realm-vmm", "--kernel", "k"].iter().chain(more);
        Args::try_parse_from(all).is_err()
    }

    #[test]
    fn definition_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn a_pmu_has_one_counter_at_least() {
        assert_eq!(parse(&[]).pmu, None);
        assert_eq!(parse(&["--pmu", "6"]).pmu, Some(6));
        for bad in ["0", "32", "x", ""] {
            assert!(refused(&["--pmu", bad]), "{bad}");
        }
    }

    #[test]
    fn there_is_time_between_forks() {
        assert_eq!(parse(&[]).fork_every, None);
        assert_eq!(parse(&["--fork-every", "1"]).fork_every, Some(1));
        for bad in ["0", "10001", "1ms", ""] {
            assert!(refused(&["--fork-every", bad]), "{bad}");
        }
    }

    #[test]
    fn realm_unless_told_otherwise() {
        assert!(parse(&[]).is_realm());
        assert!(!parse(&["--no-realm"]).is_realm());
        assert!(parse(&["--no-realm", "--realm"]).is_realm());
        assert!(!parse(&["--realm", "--no-realm"]).is_realm());
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("64", 64 << 20),
            ("64M", 64 << 20),
            ("2g", 2 << 30),
            ("4096K", 4 << 20),
        ] {
            assert_eq!(parse(&["--memory", text]).memory, size, "{text}");
        }
        for text in [
            "",
            "0",
            "1",
            "3M",
            "2048",
            "x",
            "M",
            "99999999999999999999",
            "99999999G",
        ] {
            assert_eq!(refused(&["--memory", text]), text != "2048", "{text}");
        }
    }

    #[test]
    fn personalisation_values() {
        let mut wanted = [0; 64];
        wanted[..3].copy_from_slice(&[0x01, 0xab, 0xff]);
        assert_eq!(parse(&["--rpv", "01aBff"]).rpv, Some(Rpv(wanted)));
        let most = "5a".repeat(64);
        assert_eq!(parse(&["--rpv", &most]).rpv, Some(Rpv([0x5a; 64])));
        for text in ["", "0", "012", "0x01", "zz", " 01", &"00".repeat(65)] {
            assert!(refused(&["--rpv", text]), "{text}");
        }
        assert_eq!(parse(&["--hash", "sha512"]).hash, Some(Hash::Sha512));
        assert!(refused(&["--hash", "md5"]));
    }

    #[test]
    fn addresses() {
        let at = |text| parse(&["--initrd", "i", "--initrd-at", text]).initrd_at;
        assert_eq!(at("0x4a000123"), Some(0x4a00_0123));
        assert_eq!(at("0xFFFFffffFFFFffff"), Some(u64::MAX));
        for text in ["", "0x", "123", "0x+1", "0x10000000000000000", "0xg"] {
            assert!(refused(&["--initrd", "i", "--initrd-at", text]), "{text}");
        }
        assert!(refused(&["--initrd-at", "0x40000000"]));
    }

    #[test]
    fn disks_and_cpus() {
        let args = parse(&["--disk", "a,b", "--disk", "c,ro", "--cpus", "4"]);
        let disks: Vec<_> = args
            .disks
            .iter()
            .map(|d| (d.path.to_str(), d.read_only))
            .collect();
        assert_eq!(disks, [(Some("a,b"), false), (Some("c"), true)]);
        assert_eq!(args.cpus, 4);
        assert!(refused(&["--disk", ",ro"]));
        assert!(refused(&["--cpus", "0"]));
        assert!(refused(&["--cpus", "513"]));
        let many = ["--disk", "x"].repeat(VIRTIO_LIMIT - OTHER_VIRTIO);
        assert_eq!(parse(&many).check(), Ok(()));
        let more = ["--disk", "x"].repeat(VIRTIO_LIMIT - OTHER_VIRTIO + 1);
        assert!(parse(&more).check().is_err());
    }

    #[test]
    fn help_tells_the_defaults() {
        use clap::CommandFactory;
        let help = Args::command().render_help().to_string();
        for more in [&[][..], &["--no-realm"]] {
            let line = parse(more).full_cmdline();
            assert!(
                help.lines().any(|l| l.ends_with(&format!("  {line}"))),
                "{line}"
            );
        }
    }

    #[test]
    fn own_words_replace_defaults() {
        let args = parse(&[
            "--cmdline",
            "root=/dev/vda swiotlb=512,force  console=ttyS0",
        ]);
        assert_eq!(
            args.full_cmdline(),
            "panic=-1 root=/dev/vda swiotlb=512,force console=ttyS0"
        );
        let args = parse(&["--console", "serial", "--no-realm", "--cmdline", "quiet"]);
        assert_eq!(args.full_cmdline(), "console=ttyS0 panic=-1 quiet");
    }

    #[test]
    fn early_messages_go_to_the_shared_half() {
        let line = parse(&["--earlycon", "--memory", "256"]).full_cmdline();
        assert!(line.contains("earlycon=uart8250,mmio,0x89000000"), "{line}");
        let line = parse(&["--earlycon", "--no-realm"]).full_cmdline();
        assert!(line.contains("earlycon=uart8250,mmio,0x9000000"), "{line}");
    }
}
