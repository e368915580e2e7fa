//! Discovery of service APIs (TS 23.222 clauses 8.7 and 8.38, TS 29.222 clauses 5.2 and 8.11).
//!
//! Who asks gives [`Criteria`]; all that are given must hold. The [`Catalogue`] names the APIs that come into question, and each of
//! them is then held against every criterion. Of an API that matches only the AEF profiles that match are shown.

mod bounds;
mod catalogue;
mod criteria;
mod kpis;
mod matching;
mod open;
mod places;
mod vendor;

use capif_spec::{
    common::SupportedFeatures, discover_service::DiscoveredApis,
    publish_service::ServiceApiDescription,
};

use self::matching::Found;
pub(crate) use self::places::same_slice;
pub use self::{
    catalogue::Catalogue,
    criteria::{Criteria, LIST_MAX},
    open::{discover_openly, open_reach},
    vendor::VendorCriterion,
};
use crate::{
    refusal::Refusal,
    state::{ApiReach, ServiceApi},
};

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

/// Finds the published APIs within reach that meet the criteria.
///
/// # Errors
/// Refuses criteria that exclude each other, and those that more than [`FOUND_MAX`] APIs meet.
pub fn discover(
    criteria: Criteria,
    reach: &ApiReach,
    catalogue: &Catalogue,
) -> Result<DiscoveredApis, Refusal> {
    criteria.check()?;
    let agreed = criteria
        .supported_features
        .as_ref()
        .map(|features| features.intersect(&SupportedFeatures::from(FEATURES)));
    // Parameters of features that were not agreed on are not obeyed (TS 29.222 clause 7.8).
    let spoken = agreed.clone().unwrap_or_default();
    let found = matching::search(&criteria.within(&spoken), reach, catalogue)?;
    let descriptions: Vec<ServiceApiDescription> = found
        .iter()
        .map(|found| found.description(&spoken))
        .collect();
    Ok(DiscoveredApis {
        // Nothing found leaves the member out (TS 29.222 table 8.1.4.2.2-1).
        service_api_descriptions: (!descriptions.is_empty()).then_some(descriptions),
        supp_feat: agreed,
        ..DiscoveredApis::default()
    })
}

/// An API as invokers see it: how it may be shared stays among core functions, and each profile says its methods even when
/// its interfaces alone name them.
#[must_use]
pub fn view(api: &ServiceApi) -> ServiceApiDescription {
    let profiles = api.description.aef_profiles.as_ref();
    let found = Found {
        api,
        profiles: profiles.into_iter().flatten().collect(),
    };
    found.description(&SupportedFeatures::from(FEATURES))
}

#[cfg(test)]
mod tests;
