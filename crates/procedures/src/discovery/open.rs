//! Open discovery (TS 23.222 clause 8.38, TS 29.222 clause 8.11): what anyone may see before onboarding.

use capif_spec::{
    common::SupportedFeatures,
    open_discover_service::{OpenAefProfile, OpenApiDetails, OpenDiscoveryResp},
    publish_service::Version,
};

use super::{Catalogue, Criteria, Sight, matching, matching::Found};
use crate::refusal::Refusal;

/// Features of the open discovery API that are served: none is known of this release.
const FEATURES: &str = "0";

/// Finds the APIs that lie open (TS 23.222 annex E) and meet the criteria.
///
/// # Errors
/// Refuses criteria that need another one, and those that too many APIs meet.
pub fn discover_openly(
    criteria: &Criteria,
    open: &Sight<'_>,
    catalogue: &Catalogue,
) -> Result<OpenDiscoveryResp, Refusal> {
    criteria.check_open()?;
    let found = matching::search(criteria, open, catalogue)?;
    Ok(OpenDiscoveryResp {
        disc_apis: found.iter().map(details).collect(),
        supp_feat: criteria
            .supported_features
            .as_ref()
            .map(|features| features.intersect(&SupportedFeatures::from(FEATURES))),
        extra: Default::default(),
    })
}

/// The reduced view: no address and no security method. Vendor members may hold either and are left out.
fn details(found: &Found<'_>) -> OpenApiDetails {
    let held = &found.api().description;
    let profiles: Vec<OpenAefProfile> = found
        .profiles()
        .map(|profile| OpenAefProfile {
            aef_id: Some(profile.aef_id.clone()),
            versions: Some(profile.versions.iter().map(plain).collect()),
            protocol: profile.protocol.clone(),
            data_format: profile.data_format.clone(),
            aef_location: profile.aef_location.clone(),
            service_kpis: profile.service_kpis.clone(),
            extra: Default::default(),
        })
        .collect();
    OpenApiDetails {
        api_name: held.api_name.clone(),
        api_id: held.api_id.clone(),
        api_status: held.api_status.clone(),
        description: held.description.clone(),
        service_api_category: held.service_api_category.clone(),
        api_supp_feats: held.api_supp_feats.clone(),
        api_prov_name: held.api_prov_name.clone(),
        aef_profiles: (!profiles.is_empty()).then_some(profiles),
        extra: Default::default(),
    }
}

/// A version without vendor members.
pub(crate) fn plain(version: &Version) -> Version {
    let mut version = version.clone();
    version.extra.clear();
    for resource in version.resources.iter_mut().flatten() {
        resource.extra.clear();
        for operation in resource.cust_operations.iter_mut().flatten() {
            operation.extra.clear();
        }
    }
    for operation in version.cust_operations.iter_mut().flatten() {
        operation.extra.clear();
    }
    version
}
