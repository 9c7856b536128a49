// SPDX-License-Identifier: GPL-2.0

//! `KVM_ARM_RMI_POPULATE`: what a realm begins with.

use crate::{
    create,
    exit::Half,
    guest_memfd::{chunk_of, forget, note, Bits, PageSet, CHUNK},
    host::errno,
    private::{self, Pages},
    realm::State,
    rmi::{
        cmd::data::{self, Measure},
        Delegated,
        GranuleRange,
        IpaRange,
        PhysAddr,
        Protected,
        GRANULE_SIZE, //
    },
    smccc::Pause,
    trace,
    views::{read_slots, Memslot, MmuReadLock, Slots},
    vm::Vm, //
};
use core::ops::Range;
use kernel::{
    bindings,
    prelude::*,
    uaccess::{UserPtr, UserSlice}, //
};

/// The ioctl, with what user space passed.
///
/// # Errors
///
/// See `uapi/README.md`.
pub(crate) fn ioctl(vm: &Vm, from: *mut c_void) -> Result {
    let size = size_of::<bindings::kvm_arm_rmi_populate>();
    let (mut reader, mut writer) = UserSlice::new(UserPtr::from_ptr(from), size).reader_writer();
    let mut words = [0u64; 4];
    reader.read_slice(words.as_mut_bytes())?;
    let [base, size, source_uaddr, last] = words;
    let mut args = bindings::kvm_arm_rmi_populate {
        base,
        size,
        source_uaddr,
        // CAST: The halves of a word, as they lie in memory.
        flags: last as u32,
        reserved: (last >> 32) as u32,
    };
    let result = populate(vm, &mut args);
    // Even after an error: what is done is not to be done again.
    let words = [args.base, args.size, args.source_uaddr];
    writer.write_slice(words.as_bytes())?;
    result
}

/// Fills private memory. `args` is brought up to date as it goes.
///
/// # Errors
///
/// See `uapi/README.md`.
fn populate(vm: &Vm, args: &mut bindings::kvm_arm_rmi_populate) -> Result {
    let measure = match args.flags {
        0 => Measure::Location,
        bindings::KVM_ARM_RMI_POPULATE_FLAGS_MEASURE => Measure::Contents,
        _ => return Err(EINVAL),
    };
    if args.reserved != 0 {
        return Err(EINVAL);
    }
    if args.size == 0 {
        return begin(vm);
    }
    let top = args.base.checked_add(args.size).ok_or(EINVAL)?;
    let mut range = vm.space.protected(args.base, top).ok_or(EINVAL)?;
    let source_top = args.source_uaddr.checked_add(args.size);
    let aligned = args.source_uaddr & (GRANULE_SIZE - 1) == 0;
    if args.source_uaddr == 0 || !aligned || source_top.is_none() {
        return Err(EINVAL);
    }
    check_first(vm, args.base / GRANULE_SIZE)?;
    begin(vm)?;
    let whole = args.size;
    loop {
        if crate::ffi::kvm_rmi_helper_signal_pending() {
            // Who looks at errors only is not to take what was done for a failure.
            return match args.size < whole {
                true => Ok(()),
                false => Err(EINTR),
            };
        }
        let (done, result) = chunk(vm, range, args.source_uaddr, measure);
        args.base += done;
        args.source_uaddr += done;
        args.size -= done;
        match result {
            Ok(()) => {}
            // Memory was invalidated meanwhile, which need not have been any of this.
            Err(error) if error == EAGAIN => {}
            Err(error) => return Err(error),
        }
        match range.from(args.base) {
            Some(rest) => range = rest,
            None => return Ok(()),
        }
    }
}

/// Looks at the first granule, so that a request that cannot be met makes no realm.
///
/// # Errors
///
/// `EINVAL` if it is not private, or in no slot that has private memory.
fn check_first(vm: &Vm, gfn: u64) -> Result {
    let slots = read_slots(vm.kvm);
    let slot = slots.find(gfn).filter(Memslot::has_gmem);
    match slot.is_some() && slots.is_private(gfn) {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

/// Makes sure that there is a realm that can be populated.
///
/// # Errors
///
/// `EBUSY` if it is too late, `ENXIO` if there is no realm any more, and what creating it says.
fn begin(vm: &Vm) -> Result {
    let mut life = vm.life.lock();
    match life.realm.state() {
        State::None => create::realm(vm, &mut life),
        State::New => Ok(()),
        state => Err(too_late(state)),
    }
}

/// Why a realm that is not New can no longer be populated.
fn too_late(state: State) -> Error {
    match state {
        State::Dying | State::Dead => ENXIO,
        State::None | State::New | State::Active => EBUSY,
    }
}

/// Populates from the base of `range` to the end of a chunk at most. Returns how many bytes are done,
/// and why it is not more.
fn chunk(vm: &Vm, range: IpaRange<Protected>, source: u64, measure: Measure) -> (u64, Result) {
    let mut done = 0;
    let result = try_chunk(vm, range, source, measure, &mut done);
    (done * GRANULE_SIZE, result)
}

/// As [`chunk`]; counts granules in `done`.
///
/// # Errors
///
/// See `uapi/README.md`.
fn try_chunk(
    vm: &Vm,
    range: IpaRange<Protected>,
    source: u64,
    measure: Measure,
    done: &mut u64,
) -> Result {
    // Pages of user space may take for ever to come: nothing is held while they do.
    let sources = Sources::pin(source, left_of_chunk(&range))?;
    // The realm stays New while this is held.
    let life = vm.life.lock();
    match life.realm.state() {
        State::New => {}
        state => return Err(too_late(state)),
    }
    let slots = read_slots(vm.kvm);
    let seq = slots.invalidate_seq();
    let start = range.base() / GRANULE_SIZE;
    let slot = slots.find(start).filter(Memslot::has_gmem).ok_or(EINVAL)?;
    let chunk = chunk_of(start);
    let top = start + sources.pages.len() as u64;
    let gfns = not_yet(vm, &slots, chunk, start..top.min(slot.gfns().end))?;

    let mut pages = Pages::new(chunk);
    let mut result = private::prepare(vm, chunk);
    for gfn in gfns.clone() {
        result = result.and_then(|()| pages.get(&slot, gfn));
    }
    if result.is_err() {
        pages.put();
        return result;
    }
    let mut granules = pages.delegate(vm)?;
    while result.is_ok() {
        let Some((gfns, mut pieces)) = granules.next_run() else {
            break;
        };
        result = map(vm, gfns, &mut pieces, &sources, seq, measure, done);
        vm.put_pieces(&mut pieces);
    }
    granules.put(vm);
    result
}

/// Granules from the base of `range` on that are in one chunk with it.
fn left_of_chunk(range: &IpaRange<Protected>) -> usize {
    let (start, top) = (range.base() / GRANULE_SIZE, range.top() / GRANULE_SIZE);
    // CAST: At most as many as a chunk has.
    (top.min((chunk_of(start) + 1) * CHUNK) - start) as usize
}

/// The first of `gfns` that can be populated.
///
/// # Errors
///
/// The very first is not private (`EINVAL`), or mapped already (`EEXIST`).
fn not_yet(vm: &Vm, slots: &Slots, chunk: u64, gfns: Range<u64>) -> Result<Range<u64>> {
    let mapped = vm.pages.get(chunk);
    let refusal = |gfn: u64| {
        let this = Bits::of(chunk, &(gfn..gfn + 1));
        match () {
            () if !slots.is_private(gfn) => Some(EINVAL),
            () if !mapped.and(this).is_empty() => Some(EEXIST),
            () => None,
        }
    };
    if let Some(error) = refusal(gfns.start) {
        return Err(error);
    }
    let end = gfns.clone().find(|gfn| refusal(*gfn).is_some());
    Ok(gfns.start..end.unwrap_or(gfns.end))
}

/// Maps delegated pages of one chunk, each filled from its source.
///
/// # Errors
///
/// `EAGAIN` if memory of the VM was invalidated since `seq`, or what [`errno`] makes of the RMM's
/// answer. What is not mapped is left in `pieces`.
fn map(
    vm: &Vm,
    gfns: Range<u64>,
    pieces: &mut data::Pieces,
    sources: &Sources,
    seq: c_ulong,
    measure: Measure,
    done: &mut u64,
) -> Result {
    let mut gfn = gfns.start;
    while let Some(piece) = pieces.pop() {
        let mut rest = Some(piece);
        while let Some(granules) = rest.take() {
            let (page, more) = granules.split(1);
            rest = more;
            let Some(page) = page else { break };
            let source = sources.pa(*done as usize);
            if let Err(error) = map_one(vm, gfn, page, source, seq, measure) {
                // What was not tried is no longer in `pieces`.
                rest.into_iter().for_each(|left| vm.give_back(left));
                return Err(error);
            }
            gfn += 1;
            *done += 1;
        }
        crate::ffi::kvm_rmi_helper_cond_resched();
    }
    Ok(())
}

/// Maps one page.
///
/// # Errors
///
/// As for [`map`]; the page has been given back.
fn map_one(
    vm: &Vm,
    gfn: u64,
    page: GranuleRange<Delegated>,
    source: PhysAddr,
    seq: c_ulong,
    measure: Measure,
) -> Result {
    let name = vm.name()?;
    let lock = MmuReadLock::new(vm.kvm);
    if lock.invalidated_since(seq, &(gfn..gfn + 1)) {
        drop(lock);
        vm.give_back(page);
        return Err(EAGAIN);
    }
    let (rmi, this) = (vm.rmi(Pause::Never), gfn..gfn + 1);
    note(&vm.pages, &this);
    let result = data::map_init(&rmi, name, page, gfn * GRANULE_SIZE, source, measure);
    let Err(failed) = result else {
        trace::realm_map(vm, Half::Protected, &this);
        return Ok(());
    };
    let unclear = !failed.error.changed_nothing();
    if !unclear {
        forget(&vm.pages, &this);
    }
    drop(lock);
    if unclear {
        private::lost_track(vm, failed.error);
    }
    failed
        .granules
        .into_iter()
        .for_each(|page| vm.give_back(page));
    Err(errno(failed.error))
}

/// Pages of user space, pinned.
struct Sources {
    pages: KVec<*mut bindings::page>,
}

impl Sources {
    /// Pins `wanted` pages from `address` on, or as many of them as there are.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the first cannot be read, `ENOMEM`.
    fn pin(address: u64, wanted: usize) -> Result<Self> {
        let mut pages = KVec::with_capacity(wanted, GFP_KERNEL)?;
        // SAFETY: There is room for as many pages as are wanted.
        let pinned = unsafe {
            bindings::pin_user_pages_fast(
                address as c_ulong,
                wanted as c_int,
                0,
                pages.spare_capacity_mut().as_mut_ptr().cast(),
            )
        };
        let pinned = usize::try_from(pinned).map_err(|_| EFAULT)?;
        // SAFETY: So many were written, and not more than there is room for.
        unsafe { pages.inc_len(pinned.min(wanted)) };
        match pages.is_empty() {
            true => Err(EFAULT),
            false => Ok(Self { pages }),
        }
    }

    /// Where page `n` is.
    fn pa(&self, n: usize) -> PhysAddr {
        // SAFETY: The page is pinned.
        PhysAddr::new(unsafe { crate::ffi::kvm_rmi_helper_page_to_phys(self.pages[n]) })
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        // SAFETY: These pages were pinned, and nobody has unpinned them.
        unsafe { bindings::unpin_user_pages(self.pages.as_mut_ptr(), self.pages.len() as c_ulong) };
    }
}
