//! Discovery of service APIs (TS 23.222 clauses 8.7 and 8.38, TS 29.222 clauses 5.2 and 8.11).
//!
//! Who asks gives [`Criteria`]; all that are given must hold. The [`Catalogue`] names the APIs that come into question, and each of
//! them is then held against every criterion. Of an API that matches only the AEF profiles that match are shown.

mod bounds;
mod catalogue;
mod counts;
mod criteria;
mod facets;
mod kpis;
mod matching;
mod open;
mod places;
pub mod policy;
mod published;
mod texts;
mod vendor;

use capif_spec::{common::SupportedFeatures, publish_service::ServiceApiDescription};

use self::matching::Found;
pub use self::{
    catalogue::Catalogue,
    counts::Discoveries,
    criteria::{Criteria, LIST_MAX},
    open::discover_openly,
    policy::{Policies, Sight},
    published::Published,
    vendor::VendorCriterion,
};
pub(crate) use self::{open::plain, places::same_slice};
use crate::{refusal::Refusal, state::ServiceApi};

/// Features of the discover API that are served (TS 29.222 table 8.1.6-1): bit 1, ApiSupportedFeatureQuery; bit 2,
/// VendSpecQueryParams; bit 3, RNAA; bit 4, SliceBasedAPIExposure.
pub const FEATURES: &str = "f";

/// The number of ApiSupportedFeatureQuery: `api-supported-features`.
pub(crate) const API_SUPPORTED_FEATURE_QUERY: u32 = 1;
/// The number of VendSpecQueryParams: `vend-spec-…`.
pub(crate) const VEND_SPEC_QUERY_PARAMS: u32 = 2;
/// The number of RNAA: `grant-types`, and grant types in the answer.
pub(crate) const RNAA: u32 = 3;
/// The number of SliceBasedAPIExposure: `net-slice-info`, and slices in the answer.
pub(crate) const SLICE_BASED_API_EXPOSURE: u32 = 4;

/// How many APIs one answer holds at most. The standard has no pages, and an answer that is cut would pass for a whole one.
pub const FOUND_MAX: usize = 10_000;

/// What was found for an invoker.
pub struct Discovered<'a> {
    found: Vec<Found<'a>>,
    /// What both sides speak, to be obeyed.
    spoken: SupportedFeatures,
    /// The same, if it is to be answered.
    agreed: Option<SupportedFeatures>,
    catalogue: &'a Catalogue,
}

/// Finds the published APIs in sight that meet the criteria, and counts that they were asked for and shown.
///
/// # Errors
/// Refuses criteria that exclude each other, and those that more than [`FOUND_MAX`] APIs meet.
pub fn discover<'a>(
    criteria: Criteria,
    sight: impl Into<Sight<'a>>,
    catalogue: &'a Catalogue,
) -> Result<Discovered<'a>, Refusal> {
    criteria.check()?;
    let agreed = criteria
        .supported_features
        .as_ref()
        .map(|features| features.intersect(&SupportedFeatures::from(FEATURES)));
    // Parameters of features that were not agreed on are not obeyed (TS 29.222 clause 7.8).
    let spoken = agreed.clone().unwrap_or_default();
    let criteria = criteria.within(&spoken);
    let found = matching::search(&criteria, &sight.into(), catalogue)?;
    counts::count(&criteria, &found, catalogue);
    Ok(Discovered {
        found,
        spoken,
        agreed,
        catalogue,
    })
}

impl Discovered<'_> {
    /// How many APIs were found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The answer (TS 29.222 clause 8.1.4.2.2) as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.found.len().saturating_mul(1024));
        let mut before: &[u8] = b"{";
        // Nothing found leaves the member out (TS 29.222 table 8.1.4.2.2-1).
        for (index, found) in self.found.iter().enumerate() {
            let start: &[u8] = b"{\"serviceAPIDescriptions\":[";
            out.extend_from_slice(if index == 0 { start } else { b"," });
            self.catalogue.texts.write(found, &self.spoken, &mut out);
            before = b"],";
        }
        match &self.agreed {
            Some(agreed) => {
                out.extend_from_slice(before);
                out.extend_from_slice(b"\"suppFeat\":");
                texts::encode(agreed, &mut out);
                out.push(b'}');
            }
            None if self.found.is_empty() => out.extend_from_slice(b"{}"),
            None => out.extend_from_slice(b"]}"),
        }
        out
    }
}

/// An API as invokers see it: how it may be shared stays among core functions, and each profile says its methods even when
/// its interfaces alone name them.
#[must_use]
pub fn view(api: &ServiceApi) -> ServiceApiDescription {
    let features = SupportedFeatures::from(FEATURES);
    let profiles = api.description.aef_profiles.as_ref();
    // No profile at all is left out, as the schema has it: one that is active nowhere has none to show.
    let profiles = profiles
        .filter(|profiles| !profiles.is_empty())
        .map(|profiles| {
            let profiles = profiles.iter();
            profiles
                .map(|profile| matching::shown(profile, &features))
                .collect()
        });
    // One that is active nowhere shows no profile, and no empty list of them.
    let profiles = profiles.filter(|profiles: &Vec<_>| !profiles.is_empty());
    matching::description(api, profiles, &features)
}

#[cfg(test)]
mod tests;
