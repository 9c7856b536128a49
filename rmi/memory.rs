// SPDX-License-Identifier: GPL-2.0

//! Memory for stateful operations: where it comes from, and both directions of its way.

use super::loan::MAX_ORDER;
use super::{
    AddrRange,
    Broken,
    Conduit,
    Delegated,
    Error,
    Fid,
    GranuleRange,
    Loans,
    MemState,
    PhysAddr,
    RangeDesc,
    Results,
    ReturnCode,
    Rmi,
    RttLevel,
    SharedPage,
    Undelegated,
    GRANULE_SIZE, //
};

/// Where granules come from and go to: the kernel's page allocator, or a test's.
pub trait Pages {
    /// Allocates `1 << order` granules next to each other, aligned to their size.
    fn alloc(&self, order: u32) -> Option<GranuleRange<Undelegated>>;

    /// Takes granules back, all of an allocation or any part.
    fn free(&self, granules: GranuleRange<Undelegated>);
}

/// Words in a page, as many descriptors as a list may have.
const LIST_ENTRIES: u64 = GRANULE_SIZE / 8;

/// What an operation may borrow from.
pub struct Memory<'a, P, L> {
    /// New granules.
    pub pages: &'a P,
    /// A page for lists of descriptors, used only while a command runs.
    pub list: &'a mut L,
    /// What the RMM has already.
    pub loans: &'a mut Loans,
}

/// The answer to a step: what [`Rmi::begin`] returns.
pub(super) type Answer = Result<(ReturnCode, Results), Error>;

/// What became of an offer.
pub(super) struct Donation {
    /// The RMM's answer.
    pub(super) answer: Answer,
    /// It took some.
    pub(super) taken: bool,
}

/// `RmiOpMemDonateReq`: what the RMM would like to have.
struct DonateRequest {
    /// The number of granules.
    granules: u64,
    /// They have to be next to each other.
    contiguous: bool,
}

impl DonateRequest {
    /// Reads X2. `None` if the request is for nothing, for blocks larger than we lend, or for
    /// memory that stays the host's, which nothing we use asks for.
    fn from_raw(raw: u64) -> Option<Self> {
        let level = RttLevel::from_block_code(raw);
        let blocks = (raw >> 2) & 0x3fff;
        let delegated = (raw >> 17) & 3 == 0;
        let wanted = level == RttLevel::L3 && blocks != 0 && delegated;
        wanted.then_some(Self {
            granules: blocks,
            contiguous: (raw >> 16) & 1 != 0,
        })
    }

    /// The orders to try, the largest first.
    fn orders(&self) -> impl Iterator<Item = u32> {
        let most = self.granules.checked_ilog2().unwrap_or(0);
        // In one piece there is one size that will do; otherwise the RMM asks again for the rest.
        let exact = self.contiguous;
        let possible = !exact || (self.granules.is_power_of_two() && most <= MAX_ORDER);
        let orders = if possible {
            most.min(MAX_ORDER).saturating_add(1)
        } else {
            0
        };
        (0..orders).rev().take(if exact { 1 } else { usize::MAX })
    }
}

impl<P: Pages, L: SharedPage> Memory<'_, P, L> {
    /// Answers a request for memory, as far as one allocation goes.
    ///
    /// `None` if there is no memory of that kind, or none that can be delegated.
    pub(super) fn donate<C: Conduit>(
        &mut self,
        rmi: &Rmi<C>,
        handle: u64,
        request: u64,
    ) -> Option<Donation> {
        let request = DonateRequest::from_raw(request)?;
        if !self.loans.has_room() {
            return None;
        }
        // What the RMM does not take is no offer. Its operation is still waiting for one.
        let offer = self.delegated(rmi, request.orders())?;
        let Some((descriptor, _)) = RangeDesc::new(offer.range(), RttLevel::L3) else {
            self.take_back(rmi, Some(offer));
            return None;
        };
        self.list.write(0, descriptor.raw());
        let answer = rmi.begin(Fid::OP_MEM_DONATE, &[handle, self.list.pa().raw(), 1]);
        let taken = match &answer {
            // Once the RMM wants to give memory back its X1 says how much that is.
            Ok((code, _)) if code.wants_reclaim() => u64::MAX,
            Ok((_, regs)) => regs.x(1),
            Err(_) => 0,
        };
        let (lent, rest) = offer.split(taken);
        if let Some(lost) = lent.and_then(|lent| self.loans.lend(lent).err()) {
            lost.leak(rmi);
        }
        self.take_back(rmi, rest);
        Some(Donation {
            answer,
            taken: taken != 0,
        })
    }

    /// Offers what the RMM cannot take, the page for lists, which is not delegated. TF-RMM, none of whose
    /// operations can be cancelled, fails one for that, and gives back what it has.
    ///
    /// # Errors
    ///
    /// The RMM has not come to an offer of it, or says that it takes the page.
    pub(super) fn spoil<C: Conduit>(&mut self, rmi: &Rmi<C>, handle: u64) -> Answer {
        let fid = Fid::OP_MEM_DONATE;
        let page = self.list.pa();
        let top = PhysAddr::new(page.raw().saturating_add(GRANULE_SIZE));
        let range = AddrRange::new(page, top);
        let descriptor = range.and_then(|range| RangeDesc::new(range, RttLevel::L3));
        // Without one nothing is offered, which is no end either.
        let word = descriptor.map_or(0, |(descriptor, _)| descriptor.raw());
        self.list.write(0, word);
        let (code, regs) = rmi.begin(fid, &[handle, page.raw(), 1])?;
        if !code.wants_reclaim() && regs.x(1) != 0 {
            return Err(Error::Broken(fid, Broken::Request(code)));
        }
        Ok((code, regs))
    }

    /// Receives what the RMM gives back.
    ///
    /// # Errors
    ///
    /// Those of the command.
    pub(super) fn reclaim<C: Conduit>(&mut self, rmi: &Rmi<C>, handle: u64) -> Answer {
        let fid = Fid::OP_MEM_RECLAIM;
        let answer = rmi.begin(fid, &[handle, self.list.pa().raw(), LIST_ENTRIES])?;
        let entries = answer.1.x(1);
        if entries > LIST_ENTRIES {
            return Err(Error::Broken(fid, Broken::Count { entries }));
        }
        for n in 0..entries {
            let offset = usize::try_from(n.saturating_mul(8)).unwrap_or(usize::MAX);
            // What makes no sense frees nothing; it stays among the loans and is written off.
            if let Some((range, state)) = RangeDesc::from_raw(self.list.read(offset)).decode() {
                self.settle(rmi, range, state);
            }
        }
        Ok(answer)
    }

    /// Frees memory that has come back, if it was lent.
    fn settle<C: Conduit>(&mut self, rmi: &Rmi<C>, range: AddrRange, state: MemState) {
        let Some(granules) = self.loans.settle(range) else {
            return;
        };
        match state {
            MemState::Delegated => self.take_back(rmi, Some(granules)),
            MemState::Undelegated => self.pages.free(granules.undelegated_by_rmm(rmi)),
        }
    }

    /// Allocates by the first of these orders that there is memory of, and delegates it. `None` if there is
    /// none, or the RMM does not take all of it.
    fn delegated<C: Conduit>(
        &self,
        rmi: &Rmi<C>,
        mut orders: impl Iterator<Item = u32>,
    ) -> Option<GranuleRange<Delegated>> {
        let pages = orders.find_map(|order| self.pages.alloc(order))?;
        let moved = pages.delegate(rmi);
        if let Some(rest) = moved.rest {
            self.pages.free(rest);
        }
        if moved.error.is_some() {
            self.take_back(rmi, moved.done);
            return None;
        }
        moved.done
    }

    /// Undelegates and frees; what the RMM keeps is leaked.
    fn take_back<C: Conduit>(&self, rmi: &Rmi<C>, granules: Option<GranuleRange<Delegated>>) {
        let Some(granules) = granules else { return };
        let moved = granules.undelegate(rmi);
        if let Some(done) = moved.done {
            self.pages.free(done);
        }
        if let Some(rest) = moved.rest {
            rest.leak(rmi);
        }
    }

    /// Delegates at most `granules` granules in one piece and writes them down as lent. `None` if there is no
    /// memory, or none that can be delegated.
    pub(super) fn lend<C: Conduit>(&mut self, rmi: &Rmi<C>, granules: u64) -> Option<AddrRange> {
        if !self.loans.has_room() {
            return None;
        }
        let most = granules.checked_ilog2()?.min(MAX_ORDER);
        let lent = self.delegated(rmi, (0..=most).rev())?;
        let range = lent.range();
        match self.loans.lend(lent) {
            Ok(()) => Some(range),
            Err(lost) => {
                lost.leak(rmi);
                None
            }
        }
    }

    /// Takes back and frees everything that was lent: the RMM has no use for any of it.
    pub(super) fn end<C: Conduit>(&mut self, rmi: &Rmi<C>) {
        while let Some(granules) = self.loans.take() {
            self.take_back(rmi, Some(granules));
        }
    }

    /// Gives up what the RMM still has once it has no reason to have anything.
    pub(super) fn write_off<C: Conduit>(&mut self, rmi: &Rmi<C>) {
        let lost = self.loans.write_off();
        rmi.count(|counts| counts.leak(lost));
    }
}
