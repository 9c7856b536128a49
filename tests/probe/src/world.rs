// SPDX-License-Identifier: GPL-2.0

//! Realms and RECs for the scenarios that need one to begin with.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};
use realm_payload::PAGES;

use crate::descriptor::{MapFlags, Range};
use crate::memory::BLOCK_SIZE;
use crate::params::{self, Shape};
use crate::probe::Probe;
use crate::v1;

/// Bytes that a level 2 table covers.
pub(crate) const GIB: u64 = 1 << 30;

/// IPAs beside the payload that nothing is at, but that have a level 3 table.
pub(crate) const SPARE: u64 = realm_payload::BASE + (1 << 20);

/// A realm.
#[derive(Clone, Copy)]
pub(crate) struct Realm {
    /// Its descriptor.
    pub(crate) rd: u64,
    /// Its shape.
    pub(crate) shape: Shape,
}

/// A REC.
#[derive(Clone, Copy)]
pub(crate) struct Rec {
    /// Its granule.
    pub(crate) rec: u64,
    /// Its run page.
    pub(crate) run: u64,
}

impl Probe {
    /// A new realm without RTTs, but for its root.
    pub(crate) fn realm(&mut self, rd: &'static str, shape: Shape) -> Realm {
        let params = self.page("params");
        let size = shape.roots * GRANULE_SIZE;
        let root = self.pool.take(shape.roots, size);
        self.names.add("root", root, shape.roots, GRANULE_SIZE);
        self.delegate(root, shape.roots);
        let rd = self.granule(rd);
        params::write_realm(params, shape, root);
        if self.v1 {
            v1::name_vmid(params);
        }
        self.must(Fid::REALM_CREATE, &[rd, params]);
        Realm { rd, shape }
    }

    /// Creates RTTs from below the root down to `level` for `ipa`.
    pub(crate) fn tables(&mut self, realm: Realm, ipa: u64, level: i64) {
        for level in realm.shape.level + 1..=level {
            self.table(realm, ipa, level);
        }
    }

    /// Creates one RTT.
    pub(crate) fn table(&mut self, realm: Realm, ipa: u64, level: i64) {
        let shift = 12 + 9 * (4 - level);
        let rtt = self.granule("rtt");
        let ipa = ipa >> shift << shift;
        self.must(Fid::RTT_CREATE, &[realm.rd, rtt, ipa, level as u64]);
    }

    /// Puts the payload in a new realm, not measured but for its addresses.
    pub(crate) fn load_payload(&mut self, realm: Realm) {
        self.tables(realm, realm_payload::BASE, 3);
        let data = self.granules("code", PAGES);
        self.must_range(
            Fid::RTT_INIT_RIPAS,
            realm,
            realm_payload::BASE,
            PAGES * GRANULE_SIZE,
        );
        for n in 0..PAGES {
            let ipa = realm_payload::BASE + n * GRANULE_SIZE;
            let data = data + n * GRANULE_SIZE;
            // QEMU has loaded the payload to the address that it is linked for.
            self.must(Fid::RTT_DATA_MAP_INIT, &[realm.rd, data, ipa, ipa, 0]);
        }
    }

    /// Repeats a range command of a realm until all of the range is done.
    fn must_range(&mut self, fid: Fid, realm: Realm, base: u64, size: u64) {
        let mut at = base;
        while at < base + size {
            at = self.must(fid, &[realm.rd, at, base + size]).x(1);
        }
    }

    /// Maps a granule as data.
    pub(crate) fn map(&mut self, realm: Realm, ipa: u64, data: u64) {
        if self.v1 {
            self.must(Fid::DATA_CREATE_UNKNOWN, &[realm.rd, data, ipa]);
            return;
        }
        let top = ipa + GRANULE_SIZE;
        let range = Range::pages(data, 1).0;
        self.must(
            Fid::RTT_DATA_MAP,
            &[realm.rd, ipa, top, MapFlags::SINGLE.0, range],
        );
    }

    /// Creates the REC number `index`, whose puppet uses what the payload has for this number.
    pub(crate) fn rec(
        &mut self,
        name: &'static str,
        realm: Realm,
        index: u64,
        runnable: bool,
    ) -> Rec {
        let params = self.page("rec_params");
        let rec = self.granule(name);
        let run = self.page("run");
        params::write_rec(params, index, runnable, index);
        self.create_rec(realm, rec, params);
        Rec { rec, run }
    }

    /// Unmaps the granules of a table of level 3, all of which are there.
    pub(crate) fn unmap_block(&mut self, realm: Realm, ipa: u64) {
        let (rd, top) = (realm.rd, ipa + BLOCK_SIZE);
        let mut at = ipa;
        while at < top && self.v1 {
            at = self.must(Fid::DATA_DESTROY, &[rd, at]).x(2);
        }
        if at < top {
            self.must(Fid::RTT_DATA_UNMAP, &[rd, at, top, MapFlags::NONE.0, 0]);
        }
    }

    /// Creates a REC whose parameters are in a page.
    pub(crate) fn create_rec(&mut self, realm: Realm, rec: u64, params: u64) {
        if self.v1 {
            v1::name_aux(self, realm, params);
        }
        self.complete(Fid::REC_CREATE, &[realm.rd, rec, params]);
    }

    /// Destroys a realm and everything that is left of it.
    pub(crate) fn tear_down(&mut self, realm: Realm, recs: &[Rec], areas: &[u64]) {
        if !self.v1 {
            self.must(Fid::REALM_TERMINATE, &[realm.rd]);
        }
        for rec in recs {
            self.complete(Fid::REC_DESTROY, &[rec.rec]);
        }
        for area in areas {
            self.clear(realm, *area);
        }
        self.must(Fid::REALM_DESTROY, &[realm.rd]);
    }

    /// Unmaps a GiB at `area` and destroys its RTTs.
    fn clear(&mut self, realm: Realm, area: u64) {
        let rd = realm.rd;
        if self.v1 {
            return v1::clear(self, realm, area);
        }
        let unmap = if area < realm.shape.unprotected() {
            Fid::RTT_DATA_UNMAP
        } else {
            Fid::RTT_UNPROT_UNMAP
        };
        let top = area + GIB;
        let mut at = area;
        while at < top {
            let regs = self.smc(unmap, &[rd, at, top, MapFlags::NONE.0, 0]);
            assert!(regs.x(0) == 0 && regs.x(1) > at, "cannot unmap {at:#x}");
            at = regs.x(1);
            // A table of level 3 that has just been emptied goes before the next one.
            if at % BLOCK_SIZE == 0 {
                self.smc(Fid::RTT_DESTROY, &[rd, at - BLOCK_SIZE, 3]);
            }
        }
        self.must(Fid::RTT_DESTROY, &[rd, area, 2]);
    }
}
