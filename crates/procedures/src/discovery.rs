//! Discovery of service APIs (TS 23.222 clause 8.7, TS 29.222 clause 5.2).

use capif_spec::{
    common::SupportedFeatures,
    discover_service::DiscoveredApis,
    publish_service::{
        AefProfile, CommunicationType, DataFormat, Protocol, ServiceApiDescription, Version,
    },
};

use crate::{
    refusal::Refusal,
    security_method::methods_of,
    state::{ApiReach, ServiceApi},
};

/// Features of the discover API that are served (TS 29.222 table 8.1.6-1): bit 1, ApiSupportedFeatureQuery.
pub const FEATURES: &str = "1";

/// What is sought; every criterion given must hold (TS 29.222 table 8.1.2.2.3.1-1). The criteria that the query may carry
/// besides are not served yet and may be ignored on a GET (TS 29.500 clause 5.2.7.2): they widen the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criteria {
    /// `api-name`.
    pub api_name: Option<String>,
    /// `api-version`.
    pub api_version: Option<String>,
    /// `comm-type`.
    pub comm_type: Option<CommunicationType>,
    /// `protocol`.
    pub protocol: Option<Protocol>,
    /// `aef-id`.
    pub aef_id: Option<String>,
    /// `data-format`.
    pub data_format: Option<DataFormat>,
    /// `api-cat`.
    pub api_cat: Option<String>,
    /// `req-api-prov-name`.
    pub api_prov_name: Option<String>,
    /// `api-supported-features`, only beside `api-name`.
    pub api_supported_features: Option<SupportedFeatures>,
    /// `api-ids`, only alone.
    pub api_ids: Option<Vec<String>>,
    /// `supported-features`.
    pub supported_features: Option<SupportedFeatures>,
}

impl Criteria {
    fn any_besides_ids(&self) -> bool {
        let without = Self {
            api_ids: None,
            supported_features: None,
            ..self.clone()
        };
        without != Self::default()
    }
}

/// Finds the published APIs within reach that meet the criteria.
///
/// # Errors
/// Refuses criteria that exclude each other.
pub fn discover<'a>(
    criteria: &Criteria,
    reach: &ApiReach,
    apis: impl Iterator<Item = &'a ServiceApi>,
) -> Result<DiscoveredApis, Refusal> {
    if criteria.api_ids.is_some() && criteria.any_besides_ids() {
        return Err(Refusal::Malformed {
            pointer: "api-ids".to_owned(),
            reason: "`api-ids` excludes every other criterion".to_owned(),
            fault: crate::refusal::RequestFault::Query,
        });
    }
    if criteria.api_supported_features.is_some() && criteria.api_name.is_none() {
        return Err(Refusal::Malformed {
            pointer: "api-supported-features".to_owned(),
            reason: "`api-supported-features` needs `api-name` beside it".to_owned(),
            fault: crate::refusal::RequestFault::Query,
        });
    }
    let found: Vec<ServiceApiDescription> = apis
        .filter(|api| reach.includes(api))
        .filter_map(|api| matching(criteria, api))
        .collect();
    Ok(DiscoveredApis {
        // Nothing found leaves the member out (TS 29.222 table 8.1.4.2.2-1).
        service_api_descriptions: (!found.is_empty()).then_some(found),
        supp_feat: criteria
            .supported_features
            .as_ref()
            .map(|features| features.intersect(&SupportedFeatures::from(FEATURES))),
        ..DiscoveredApis::default()
    })
}

fn matching(criteria: &Criteria, api: &ServiceApi) -> Option<ServiceApiDescription> {
    fn holds<T: PartialEq>(wanted: Option<&T>, actual: Option<&T>) -> bool {
        wanted.is_none_or(|wanted| actual == Some(wanted))
    }
    let description = &api.description;
    let own = holds(criteria.api_name.as_ref(), Some(&description.api_name))
        && holds(
            criteria.api_cat.as_ref(),
            description.service_api_category.as_ref(),
        )
        && holds(
            criteria.api_prov_name.as_ref(),
            description.api_prov_name.as_ref(),
        )
        && criteria
            .api_ids
            .as_ref()
            .is_none_or(|ids| ids.iter().any(|id| id == api.id.as_str()))
        && criteria
            .api_supported_features
            .as_ref()
            .is_none_or(|wanted| {
                description
                    .api_supp_feats
                    .as_ref()
                    .is_some_and(|offered| wanted.intersect(offered) == *wanted)
            });
    if !own {
        return None;
    }
    let mut view = view(api);
    // Only the profiles that match are shown.
    if let Some(profiles) = &mut view.aef_profiles {
        profiles.retain(|profile| profile_matches(criteria, profile));
        if profiles.is_empty() {
            return None;
        }
    }
    Some(view)
}

fn profile_matches(criteria: &Criteria, profile: &AefProfile) -> bool {
    criteria
        .aef_id
        .as_ref()
        .is_none_or(|id| id == profile.aef_id.as_str())
        && criteria
            .protocol
            .as_ref()
            .is_none_or(|protocol| profile.protocol.as_ref() == Some(protocol))
        && criteria
            .data_format
            .as_ref()
            .is_none_or(|format| profile.data_format.as_ref() == Some(format))
        && criteria.api_version.as_ref().is_none_or(|version| {
            profile
                .versions
                .iter()
                .any(|offered| offered.api_version == *version)
        })
        && criteria.comm_type.as_ref().is_none_or(|comm_type| {
            profile
                .versions
                .iter()
                .any(|version| communicates(version, comm_type))
        })
}

fn communicates(version: &Version, comm_type: &CommunicationType) -> bool {
    let resources = version.resources.iter().flatten();
    let operations = version.cust_operations.iter().flatten();
    resources
        .map(|resource| &resource.comm_type)
        .chain(operations.map(|operation| &operation.comm_type))
        .any(|offered| offered == comm_type)
}

/// An API as invokers see it: how it may be shared stays among core functions, and each profile says its methods even when
/// its interfaces alone name them.
#[must_use]
pub fn view(api: &ServiceApi) -> ServiceApiDescription {
    let mut description = api.description.clone();
    description.shareable_info = None;
    description.pub_api_path = None;
    for profile in description.aef_profiles.iter_mut().flatten() {
        if profile.security_methods.as_ref().is_none_or(Vec::is_empty) {
            profile.security_methods = Some(methods_of(profile));
        }
    }
    description
}

#[cfg(test)]
mod tests;
