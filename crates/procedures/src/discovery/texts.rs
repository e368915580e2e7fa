//! What invokers are shown of each API, as JSON that is ready to be sent: made when it is shown for the first time, and kept until
//! the API changes.
//!
//! It is kept in pieces, since not everybody is shown the same: the profiles are those that match, and what belongs to a feature goes
//! to those who speak it.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use capif_spec::common::SupportedFeatures;
use serde::Serialize;

use super::{
    RNAA, SLICE_BASED_API_EXPOSURE,
    matching::{Found, description, shown},
};
use crate::state::ServiceApi;

/// How much text is kept. What is beyond is made each time it is shown.
const KEPT_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The text of one API, if it was made.
#[derive(Debug, Default)]
pub(super) struct Text(OnceLock<Box<Pieces>>);

/// How much text is kept of all APIs.
#[derive(Debug, Default)]
pub(super) struct Texts {
    kept: AtomicUsize,
}

impl Texts {
    /// Writes what is shown of an API to somebody who speaks these features.
    pub(super) fn write(&self, found: &Found<'_>, features: &SupportedFeatures, out: &mut Vec<u8>) {
        let held = &found.slot.text.0;
        if held.get().is_none() && self.kept.load(Ordering::Relaxed) >= KEPT_BYTES_MAX {
            return Pieces::of(found.api()).write(&found.places, features, out);
        }
        let pieces = held.get_or_init(|| {
            let made = Pieces::of(found.api());
            self.kept.fetch_add(made.size(), Ordering::Relaxed);
            Box::new(made)
        });
        pieces.write(&found.places, features, out);
    }

    /// Notes that a text is kept no longer.
    pub(super) fn forget(&self, text: &Text) {
        if let Some(pieces) = text.0.get() {
            self.kept.fetch_sub(pieces.size(), Ordering::Relaxed);
        }
    }
}

/// A description: first all but slices and profiles, without the brace that ends it; then the slices; then each profile, first for
/// those who do not know of grant types and then, if that makes a difference, for those who do.
#[derive(Debug)]
struct Pieces {
    octets: Box<[u8]>,
    /// Where the first ends, the slices, and each profile in either form.
    ends: Box<[u32]>,
}

impl Pieces {
    fn of(api: &ServiceApi) -> Self {
        let (nothing, everything) = (SupportedFeatures::from("0"), SupportedFeatures::from("f"));
        let mut octets = Vec::new();
        let mut ends = Vec::new();
        let mut end = |octets: &Vec<u8>| {
            // Holds because what is published is bounded far below.
            ends.push(u32::try_from(octets.len()).unwrap_or(u32::MAX));
        };
        encode(&description(api, None, &nothing), &mut octets);
        octets.pop();
        end(&octets);
        if let Some(slices) = &api.description.net_slice_info {
            encode(slices, &mut octets);
        }
        end(&octets);
        for profile in api.description.aef_profiles.iter().flatten() {
            let [plain, full] = [&nothing, &everything].map(|features| shown(profile, features));
            encode(&plain, &mut octets);
            end(&octets);
            if full != plain {
                encode(&full, &mut octets);
            }
            end(&octets);
        }
        Self {
            octets: octets.into(),
            ends: ends.into(),
        }
    }

    fn size(&self) -> usize {
        self.octets.len() + 4 * self.ends.len()
    }

    fn write(&self, places: &[usize], features: &SupportedFeatures, out: &mut Vec<u8>) {
        out.extend_from_slice(self.piece(0));
        let slices = self.piece(1);
        if features.has(SLICE_BASED_API_EXPOSURE) && !slices.is_empty() {
            out.extend_from_slice(b",\"netSliceInfo\":");
            out.extend_from_slice(slices);
        }
        for (index, place) in places.iter().enumerate() {
            let before: &[u8] = if index == 0 {
                b",\"aefProfiles\":["
            } else {
                b","
            };
            out.extend_from_slice(before);
            let full = self.piece(3 + 2 * place);
            let is_full = features.has(RNAA) && !full.is_empty();
            out.extend_from_slice(if is_full {
                full
            } else {
                self.piece(2 + 2 * place)
            });
        }
        out.extend_from_slice(if places.is_empty() { b"}" } else { b"]}" });
    }

    fn piece(&self, index: usize) -> &[u8] {
        let end = |index: usize| self.ends.get(index).map(|end| *end as usize);
        let start = index.checked_sub(1).map_or(Some(0), end);
        let range: Option<Range<usize>> = start.zip(end(index)).map(|(start, end)| start..end);
        range
            .and_then(|range| self.octets.get(range))
            .unwrap_or_default()
    }
}

pub(super) fn encode(value: &impl Serialize, out: &mut Vec<u8>) {
    // Holds because descriptions are structs with string keys, which JSON can always express.
    #[expect(clippy::expect_used, reason = "descriptions always encode")]
    serde_json::to_writer(out, value).expect("a description is a JSON object");
}
