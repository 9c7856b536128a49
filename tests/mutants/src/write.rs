// SPDX-License-Identifier: GPL-2.0

//! A file with all its mutants in it, one of which is in force.

use crate::find::{Kind, Site};
use std::ops::Range;

/// A mutant in a written file.
pub(crate) struct Place {
    pub(crate) mutant: usize,
    /// What is there for this mutant alone.
    pub(crate) own: Range<usize>,
    /// That, and what it replaces.
    pub(crate) whole: Range<usize>,
}

struct Insertion {
    at: usize,
    opens: bool,
    /// How much is between it and its other end.
    length: usize,
    site: usize,
    text: Vec<(Option<usize>, String)>,
}

/// Writes `source` with the mutants of its `sites`, which count from `first` on, without those that are
/// `left_out`.
pub(crate) fn write(
    source: &str,
    sites: &[Site],
    first: usize,
    left_out: impl Fn(usize) -> bool,
) -> (String, Vec<Place>) {
    let mut insertions = Vec::new();
    let mut next = first;
    for (n, site) in sites.iter().enumerate() {
        let mutants = next..next + site.changes.len();
        next = mutants.end;
        let mutants: Vec<_> = mutants
            .zip(&site.changes)
            .filter(|(mutant, _)| !left_out(*mutant))
            .collect();
        if mutants.is_empty() {
            continue;
        }
        let asks = |mutant: usize| {
            let how = if site.constant { "built" } else { "at" };
            format!("crate::mutants::{how}({mutant})")
        };
        let mut insert = |at, opens, length, text| {
            insertions.push(Insertion {
                at,
                opens,
                length,
                site: n,
                text,
            });
        };
        let Range { start, end } = site.range;
        match site.kind {
            Kind::Expr => {
                let mut text = vec![(None, "(".into())];
                for (mutant, change) in mutants {
                    text.push((None, format!("if {} {{ ", asks(mutant))));
                    text.push((Some(mutant), change.text.clone()));
                    text.push((None, " } else ".into()));
                }
                text.push((None, "{ ".into()));
                insert(start, true, end - start, text);
                insert(end, false, end - start, vec![(None, " })".into())]);
            }
            Kind::Body => {
                let text = mutants.into_iter().map(|(mutant, change)| {
                    let text = format!(" if {} {{ return {}; }}", asks(mutant), change.text);
                    (Some(mutant), text)
                });
                insert(start + 1, true, usize::MAX, text.collect());
            }
            Kind::Stmt => {
                let mutant = mutants[0].0;
                let text = vec![(Some(mutant), format!("if !{} {{ ", asks(mutant)))];
                insert(start, true, end - start, text);
                insert(end, false, end - start, vec![(None, " }".into())]);
            }
            Kind::Arm => {
                let mutant = mutants[0].0;
                let text = vec![(Some(mutant), format!(" if !{}", asks(mutant)))];
                insert(end, false, end - start, text);
            }
        }
    }
    // At one place: what closes, inner before outer; then what opens, outer before inner.
    insertions.sort_by_key(|i| {
        let (length, site) = (i.length as i128, i.site as i128);
        match i.opens {
            false => (i.at, false, length, -site),
            true => (i.at, true, -length, site),
        }
    });
    assemble(source, sites, &insertions)
}

fn assemble(source: &str, sites: &[Site], insertions: &[Insertion]) -> (String, Vec<Place>) {
    let mut out = String::new();
    let mut places: Vec<Place> = Vec::new();
    let mut of_site: Vec<Vec<usize>> = sites.iter().map(|_| Vec::new()).collect();
    let mut copied = 0;
    for insertion in insertions {
        out.push_str(&source[copied..insertion.at]);
        copied = insertion.at;
        let begin = out.len();
        let of_site = &mut of_site[insertion.site];
        for (mutant, text) in &insertion.text {
            let start = out.len();
            out.push_str(text);
            if let Some(mutant) = *mutant {
                of_site.push(places.len());
                places.push(Place {
                    mutant,
                    own: start..out.len(),
                    whole: begin..out.len(),
                });
            }
        }
        for place in of_site.iter() {
            places[*place].whole.end = out.len();
        }
    }
    out.push_str(&source[copied..]);
    (out, places)
}
