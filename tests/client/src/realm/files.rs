// SPDX-License-Identifier: GPL-2.0

//! `realm debugfs`: whatever root does with the component's files in debugfs, it gets an answer.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::brief::with_cpu;
use super::run::chunk;
use super::run::memory::fill;
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, Result};

/// The longest word that a file takes, and one more.
const LONGEST: usize = 191;
/// Private memory of a VM.
const SIZE: u64 = 0x10_0000;
/// VMs that go away while their files are read.
const LIVES: u32 = 20;

/// What is in a directory and below, without links.
fn below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files.extend(below(&entry.path())?),
            false => files.push(entry.path()),
        }
    }
    Ok(files)
}

/// What is written: nothing that a file would take.
fn garbage() -> Vec<Vec<u8>> {
    vec![
        b"".to_vec(),
        b"\n".to_vec(),
        b"\0".to_vec(),
        b"garbage\n".to_vec(),
        b"\xff\xfe".to_vec(),
        b"-1".to_vec(),
        vec![b'z'; LONGEST],
        vec![b' '; LONGEST],
        vec![b'z'; LONGEST + 1],
        vec![b'z'; 0x10_0000],
    ]
}

/// An attempt of a kind that the file has not: it must be refused so.
fn refused<T>(result: io::Result<T>, errno: i32) -> Result<()> {
    match result {
        Ok(_) => Err("it succeeded".into()),
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Everything that can be read of a file that was opened for reading.
fn read(mut file: &File, readable: bool) -> Result<()> {
    const FAR: [u64; 5] = [1, 4095, 4096, 1 << 20, i64::MAX as u64 - 1];
    let mut byte = [0];
    if !readable {
        refused(file.read(&mut byte), libc::EACCES)?;
        for offset in FAR {
            refused(file.read_at(&mut byte, offset), libc::EACCES)?;
        }
        return Ok(());
    }
    let mut all = Vec::new();
    file.read_to_end(&mut all)?;
    for offset in FAR.into_iter().chain([all.len() as u64]) {
        let count = file.read_at(&mut byte, offset)?;
        // Numbers grow meanwhile, and the contents with them, but not by so much.
        ensure!(count == 0 || offset < 1 << 20, "something at {offset:#x}");
        file.seek(SeekFrom::Start(offset))
            .map(drop)
            .or_else(|error| {
                let known = error.raw_os_error() == Some(libc::EINVAL);
                known.then_some(()).ok_or(error)
            })?;
    }
    file.seek(SeekFrom::Start(0))?;
    ensure!(file.read(&mut byte)? == all.len().min(1), "it is empty now");
    file.stream_position()?;
    refused(file.seek(SeekFrom::Start(u64::MAX)), libc::EINVAL)?;
    Ok(())
}

/// Writes what no file takes.
fn write(mut file: &File, writable: bool) -> Result<()> {
    let errno = if writable { libc::EINVAL } else { libc::EACCES };
    for bytes in garbage() {
        refused(file.write(&bytes), errno)
            .map_err(|e| format!("{} bytes {:x?}: {e}", bytes.len(), bytes.first()))?;
        // What is written has no place in the file.
        refused(file.write_at(&bytes, 4096), libc::ESPIPE)?;
    }
    Ok(())
}

/// Opens a file in each way, and does everything with it. Root may do so whatever its mode is.
fn try_file(path: &Path) -> Result<()> {
    let mode = fs::metadata(path)?.mode();
    let (readable, writable) = (mode & 0o400 != 0, mode & 0o200 != 0);
    for (r, w) in [(true, false), (false, true), (true, true)] {
        let file = OpenOptions::new().read(r).write(w).open(path)?;
        match r {
            true => read(&file, readable)?,
            false => refused((&file).read(&mut [0]), libc::EBADF)?,
        }
        match w {
            true => write(&file, writable)?,
            false => refused((&file).write(b"1"), libc::EBADF)?,
        }
    }
    Ok(())
}

/// Every file that is there, and the files that KVM itself has of the same VMs; returns how many.
fn try_all() -> Result<usize> {
    let files = below(Path::new(debugfs::DIRECTORY))?;
    for path in &files {
        try_file(path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    for path in below(Path::new("/sys/kernel/debug/kvm"))? {
        // Some have nothing to say of a VM that is not complete, which is an answer too.
        let _ = fs::read(path);
    }
    Ok(files.len())
}

/// The same with files that may go away at any moment.
fn while_they_go(stop: &AtomicBool) -> u64 {
    let mut tries = 0;
    while !stop.load(Ordering::Acquire) {
        for path in below(Path::new(debugfs::DIRECTORY)).unwrap_or_default() {
            // What becomes of it depends on who is faster.
            let _ = try_file(&path);
            tries += 1;
        }
    }
    tries
}

/// `realm debugfs`.
pub(super) fn main() -> Result<()> {
    println!("host: {} files", try_all()?);
    let idle = Vm::empty(Shape::REALM)?;
    with_cpu(Shape::REALM, |cpu| {
        fill(cpu, chunk(0), SIZE)?;
        println!("with two VMs: {} files", try_all()?);
        Ok(())
    })?;
    drop(idle);

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| while_they_go(&stop));
        let lives = (0..LIVES).try_for_each(|_| {
            drop(Vm::empty(Shape::REALM)?);
            with_cpu(Shape::REALM, |cpu| fill(cpu, chunk(0), SIZE))
        });
        stop.store(true, Ordering::Release);
        let tries = reader.join().map_err(|_| "a thread panicked")?;
        println!("while {LIVES} VMs went: {tries} files");
        lives
    })
}
