// SPDX-License-Identifier: GPL-2.0

//! Pages go from one node of the host's memory to another, or to another place in it. The host has two
//! nodes (`numa=fake=2`).

use std::ptr;
use std::sync::atomic::AtomicU64;

use super::ground::{set, vmstat, Moved, Since};
use super::*;

const NODES: u64 = 2;
const MPOL_MF_MOVE: i32 = 1 << 1;

/// Has huge pages ready, on all nodes alike: those of a file, and as many to move to.
pub(super) fn reserve_huge_pages() -> Result<()> {
    const WANTED: u64 = 8;
    const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
    set(POOL, &WANTED.to_string())?;
    let there = ground::number(POOL)?;
    ensure!(there == WANTED, "{POOL}: {there}");
    Ok(())
}

/// Has the pages of the ground that are there go to a node.
fn move_to(ground: &Ground<'_>, node: u64) -> Result<()> {
    move_all(ground, Some(node)).map(drop)
}

/// The node that each page of the ground is on, less than 0 if it is nowhere.
fn nodes_of(ground: &Ground<'_>) -> Result<Vec<i32>> {
    move_all(ground, None)
}

/// move_pages(2) with all of the ground: to a node, or only to know where it is. Returns what the call says
/// of each page.
fn move_all(ground: &Ground<'_>, to: Option<u64>) -> Result<Vec<i32>> {
    let memory = ground.memory();
    let mut pages: Vec<u64> = (0..memory.size()).step_by(PAGE_SIZE as usize).collect();
    pages.iter_mut().for_each(|page| *page += memory.address());
    let nodes = to.map(|node| vec![node as i32; pages.len()]);
    let mut status = vec![-1_i32; pages.len()];
    // SAFETY: The arrays are as long as is said, and the pages are moved without anybody noticing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            0,
            pages.len(),
            pages.as_ptr(),
            nodes.as_ref().map_or(ptr::null(), |nodes| nodes.as_ptr()),
            status.as_mut_ptr(),
            MPOL_MF_MOVE,
        )
    };
    // More than 0: so many could not be, just now.
    ensure!(
        result >= 0,
        "move_pages: {}",
        std::io::Error::last_os_error()
    );
    Ok(status)
}

/// To one node after the other, in one of two ways.
struct ThereAndBack {
    to: fn(&Ground<'_>, u64) -> Result<()>,
    steps: AtomicU64,
    moved: Moved,
}

impl ThereAndBack {
    fn make(to: fn(&Ground<'_>, u64) -> Result<()>) -> Result<Box<dyn Mover>> {
        Ok(Box::new(Self {
            to,
            steps: AtomicU64::new(0),
            moved: Moved::new(),
        }))
    }
}

/// move_pages(2).
pub(super) fn move_pages(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    ThereAndBack::make(move_to)
}

/// migrate_pages(2).
pub(super) fn migrate(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    ThereAndBack::make(migrate_to)
}

/// Has all of the process go to a node.
fn migrate_to(_ground: &Ground<'_>, node: u64) -> Result<()> {
    let (from, to) = (1_u64 << (1 - node), 1_u64 << node);
    // SAFETY: The sets are words, as is said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_migrate_pages,
            0,
            64,
            &raw const from,
            &raw const to,
        )
    };
    let error = std::io::Error::last_os_error();
    ensure!(result >= 0, "migrate_pages: {error}");
    Ok(())
}

impl Mover for ThereAndBack {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        let node = self.steps.fetch_add(1, Ordering::Relaxed) % NODES;
        self.moved.by(ground, || (self.to)(ground, node))
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        Ok(self.moved.count())
    }
}

struct Balance<F> {
    /// Pages that came back to where they are used, and what the kernel has moved for that reason in all.
    back: AtomicU64,
    migrated: Since<F>,
}

/// NUMA balancing: pages follow those who use them, which makes them fault for that. The host was told to do
/// so when it started (`numa_balancing=enable`).
pub(super) fn balance(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    const SETTINGS: &str = "/sys/kernel/debug/sched/numa_balancing";
    for (name, value) in [
        ("scan_delay_ms", "0"),
        ("scan_period_min_ms", "1"),
        ("scan_period_max_ms", "10"),
    ] {
        set(&format!("{SETTINGS}/{name}"), value)?;
    }
    Ok(Box::new(Balance {
        back: AtomicU64::new(0),
        migrated: Since::new(|| vmstat("numa_pages_migrated"))?,
    }))
}

impl<F: Fn() -> Result<u64> + Sync> Mover for Balance<F> {
    /// Away from where they are used. All CPUs are on the first node, and nobody but the balancing has pages
    /// come back to it.
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        const AWAY: i32 = NODES as i32 - 1;
        move_to(ground, NODES - 1)?;
        let before = nodes_of(ground)?;
        thread::sleep(Duration::from_millis(20));
        let after = nodes_of(ground)?;
        let back = before.iter().zip(&after);
        let back = back.filter(|(before, after)| (**before, **after) == (AWAY, 0));
        self.back.fetch_add(back.count() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        let back = self.back.load(Ordering::Relaxed);
        Ok(back.min(self.migrated.count()?))
    }
}

struct Compact {
    filler: Mapping,
    moved: Moved,
}

/// Compaction: what can be moved goes to the end of a node. What is there already stays, so that this may
/// take a while.
pub(super) fn compact(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    const FILLER: u64 = 0x20_0000;
    Ok(Box::new(Compact {
        filler: Mapping::new(FILLER, Huge::Never)?,
        moved: Moved::new(),
    }))
}

impl Mover for Compact {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        const FILE: &str = "/sys/devices/system/node/node0/compact";
        // Not to the places where they were before: others have these for a moment.
        move_to(ground, 1)?;
        for page in (0..self.filler.size()).step_by(PAGE_SIZE as usize) {
            self.filler.write(page, 1);
        }
        move_to(ground, 0)?;
        self.filler.discard(0, self.filler.size())?;
        self.moved.by(ground, || set(FILE, "1"))
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        Ok(self.moved.count())
    }
}
