//! Which APIs and which of their profiles meet the criteria.

use capif_spec::{
    common::SupportedFeatures,
    discover_service::ResOperInfo,
    publish_service::{
        AefLocation, AefProfile, CustomOperation, Operation, Resource, SecurityMethod,
        ServiceApiDescription, Version,
    },
    security::OAuthGrantType,
};

use super::{
    Catalogue, Criteria, FOUND_MAX, RNAA, SLICE_BASED_API_EXPOSURE, Sight, catalogue::Slot, kpis,
    places,
};
use crate::{refusal::Refusal, security_method::methods_of, state::ServiceApi};

/// An API that was found, with the profiles that match.
pub(super) struct Found<'a> {
    pub(super) slot: &'a Slot,
    /// The places of the profiles, in their order.
    pub(super) places: Vec<usize>,
}

impl<'a> Found<'a> {
    pub(super) fn api(&self) -> &'a ServiceApi {
        self.slot.api()
    }

    pub(super) fn profiles(&self) -> impl Iterator<Item = &'a AefProfile> {
        let profiles = self.api().description.aef_profiles.as_deref();
        let profiles = profiles.unwrap_or_default();
        self.places.iter().filter_map(|place| profiles.get(*place))
    }

    /// Keeps those of its profiles alone that stand where it is preferred, if any does.
    fn preferring(mut self, wanted: &AefLocation) -> Option<Self> {
        let profiles = self.api().description.aef_profiles.as_deref();
        let profiles = profiles.unwrap_or_default();
        let stands = |place: &usize| {
            let location = profiles.get(*place)?.aef_location.as_ref();
            Some(places::stands_at(wanted, location))
        };
        self.places.retain(|place| stands(place) == Some(true));
        (!self.places.is_empty()).then_some(self)
    }
}

/// What an invoker that speaks these features is shown of an API with these profiles; of the API alone without any.
pub(super) fn description(
    api: &ServiceApi,
    profiles: Option<Vec<AefProfile>>,
    features: &SupportedFeatures,
) -> ServiceApiDescription {
    let held = &api.description;
    let slices = features.has(SLICE_BASED_API_EXPOSURE);
    ServiceApiDescription {
        api_name: held.api_name.clone(),
        api_id: held.api_id.clone(),
        api_status: held.api_status.clone(),
        aef_profiles: profiles,
        description: held.description.clone(),
        supported_features: held.supported_features.clone(),
        // How an API may be shared, and which way it came, stays among core functions.
        shareable_info: None,
        pub_api_path: None,
        service_api_category: held.service_api_category.clone(),
        api_supp_feats: held.api_supp_feats.clone(),
        ccf_id: held.ccf_id.clone(),
        api_prov_name: held.api_prov_name.clone(),
        net_slice_info: held.net_slice_info.clone().filter(|_| slices),
        extra: held.extra.clone(),
    }
}

/// A profile as it is shown: it says its methods even when its interfaces alone name them.
pub(super) fn shown(held: &AefProfile, features: &SupportedFeatures) -> AefProfile {
    let mut profile = held.clone();
    if profile.security_methods.as_ref().is_none_or(Vec::is_empty) {
        profile.security_methods = Some(methods_of(held));
    }
    if !features.has(RNAA) {
        profile.grant_types = None;
        for interface in profile.interface_descriptions.iter_mut().flatten() {
            interface.grant_types = None;
        }
    }
    profile
}

/// The APIs in sight that meet the criteria, by their ids.
pub(super) fn search<'a>(
    criteria: &Criteria,
    sight: &Sight<'a>,
    catalogue: &'a Catalogue,
) -> Result<Vec<Found<'a>>, Refusal> {
    let all = |near: bool| {
        catalogue
            .candidates(criteria, sight, near)
            .filter(|slot| sight.shows(slot.api()))
            .filter_map(|slot| matching(criteria, slot))
    };
    // One too many tells as much as all.
    let bound = FOUND_MAX + 1;
    let mut found: Vec<Found<'a>> = match &criteria.preferred_aef_loc {
        None => all(false).take(bound).collect(),
        // The preferred place is left aside where nothing stands there (TS 29.222 table 8.1.2.2.3.1-1).
        Some(place) => {
            let there = all(true).filter_map(|found| found.preferring(place));
            let there: Vec<Found<'a>> = there.take(bound).collect();
            if there.is_empty() {
                all(false).take(bound).collect()
            } else {
                there
            }
        }
    };
    if found.len() > FOUND_MAX {
        return Err(Refusal::TooBroad {
            what: "APIs",
            limit: FOUND_MAX,
        });
    }
    found.sort_unstable_by(|one, other| one.api().id.cmp(&other.api().id));
    Ok(found)
}

/// The profiles of an API that match, if it does.
fn matching<'a>(criteria: &Criteria, slot: &'a Slot) -> Option<Found<'a>> {
    let api = slot.api();
    let description = &api.description;
    if !meets(criteria, api) {
        return None;
    }
    let name = &description.api_name;
    let places: Vec<usize> = description
        .aef_profiles
        .iter()
        .flatten()
        .enumerate()
        .filter(|(index, profile)| profile_meets(criteria, name, *index, profile))
        .map(|(index, _)| index)
        .collect();
    // An API without profiles of its own has nothing that a criterion about profiles could find.
    if places.is_empty() && (description.aef_profiles.is_some() || asks_of_profiles(criteria)) {
        return None;
    }
    Some(Found { slot, places })
}

/// What is asked of the API itself.
fn meets(criteria: &Criteria, api: &ServiceApi) -> bool {
    fn any(wanted: &[String], actual: Option<&str>) -> bool {
        wanted.is_empty() || wanted.iter().any(|wanted| actual == Some(wanted))
    }
    let description = &api.description;
    let offers = |wanted: &SupportedFeatures| {
        description
            .api_supp_feats
            .as_ref()
            .is_some_and(|offered| wanted.intersect(offered) == *wanted)
    };
    any(&criteria.api_names, Some(&description.api_name))
        && any(&criteria.api_ids, Some(api.id.as_str()))
        && any(
            &criteria.api_cats,
            description.service_api_category.as_deref(),
        )
        && any(
            &criteria.api_prov_names,
            description.api_prov_name.as_deref(),
        )
        && criteria.api_supported_features.as_ref().is_none_or(offers)
        && criteria
            .features_of
            .get(&description.api_name)
            .is_none_or(offers)
        && (criteria.net_slices.is_empty()
            || places::in_slices(&criteria.net_slices, description.net_slice_info.as_ref()))
        && !criteria
            .vendor
            .iter()
            .any(|vendor| vendor.fails_for(description))
}

fn asks_of_profiles(criteria: &Criteria) -> bool {
    criteria.aef_id.is_some()
        || !criteria.protocols.is_empty()
        || criteria.data_format.is_some()
        || criteria.api_version.is_some()
        || !criteria.versions_of.is_empty()
        || criteria.comm_type.is_some()
        || criteria.ue_ip_addr.is_some()
        || criteria.service_kpis.is_some()
        || !criteria.grant_types.is_empty()
        || !criteria.res_ops.is_empty()
        || criteria
            .vendor
            .iter()
            .any(|vendor| vendor.is_about_profiles())
}

/// What is asked of each profile.
fn profile_meets(criteria: &Criteria, name: &str, index: usize, profile: &AefProfile) -> bool {
    criteria
        .aef_id
        .as_ref()
        .is_none_or(|id| id == profile.aef_id.as_str())
        && (criteria.protocols.is_empty()
            || profile
                .protocol
                .as_ref()
                .is_some_and(|protocol| criteria.protocols.contains(protocol)))
        && criteria
            .data_format
            .as_ref()
            .is_none_or(|format| profile.data_format.as_ref() == Some(format))
        && version_meets(criteria, name, profile)
        && criteria
            .ue_ip_addr
            .is_none_or(|user| places::serves(profile.ue_ip_range.as_ref(), user))
        && criteria
            .service_kpis
            .as_ref()
            .is_none_or(|wanted| kpis::suffices(wanted, profile.service_kpis.as_ref()))
        && (criteria.grant_types.is_empty() || grants(&criteria.grant_types, profile))
        && !criteria
            .vendor
            .iter()
            .any(|vendor| vendor.fails_at(index, profile))
}

/// What is asked of versions must hold for one and the same.
fn version_meets(criteria: &Criteria, name: &str, profile: &AefProfile) -> bool {
    let versions_of = criteria.versions_of.get(name);
    if criteria.api_version.is_none()
        && versions_of.is_none()
        && criteria.comm_type.is_none()
        && criteria.res_ops.is_empty()
    {
        return true;
    }
    profile.versions.iter().any(|version| {
        criteria
            .api_version
            .as_ref()
            .is_none_or(|wanted| *wanted == version.api_version)
            && versions_of.is_none_or(|wanted| wanted.contains(&version.api_version))
            && criteria.comm_type.as_ref().is_none_or(|wanted| {
                resources(version).any(|resource| resource.comm_type == *wanted)
                    || operations(version).any(|operation| operation.comm_type == *wanted)
            })
            && criteria.res_ops.iter().all(|wanted| has(version, wanted))
    })
}

fn resources(version: &Version) -> impl Iterator<Item = &Resource> {
    version.resources.iter().flatten()
}

fn operations(version: &Version) -> impl Iterator<Item = &CustomOperation> {
    version.cust_operations.iter().flatten()
}

/// Whether a version has a resource and operations.
///
/// Choice: with a resource, the HTTP methods and custom operations are those of this resource. Without one, the methods are sought at
/// any one resource or custom operation, the custom operations anywhere in the version. `resource` is the relative URI.
fn has(version: &Version, wanted: &ResOperInfo) -> bool {
    let methods = wanted.operations.as_deref().unwrap_or_default();
    let customs = wanted.custom_serv_opers.as_deref().unwrap_or_default();
    let takes = |offered: Option<&Vec<Operation>>| {
        methods
            .iter()
            .all(|method| offered.is_some_and(|offered| offered.contains(method)))
    };
    if let Some(uri) = &wanted.resource {
        let uri = path(uri.as_str());
        return resources(version)
            .filter(|resource| path(&resource.uri) == uri)
            .any(|resource| {
                takes(resource.operations.as_ref())
                    && customs.iter().all(|name| is_custom_at(resource, name))
            });
    }
    (methods.is_empty()
        || resources(version).any(|resource| takes(resource.operations.as_ref()))
        || operations(version).any(|operation| takes(operation.operations.as_ref())))
        && customs.iter().all(|name| {
            operations(version).any(|operation| operation.cust_op_name == *name)
                || resources(version).any(|resource| is_custom_at(resource, name))
        })
}

/// A relative URI, which is in use with and without a slash in front.
pub(super) fn path(uri: &str) -> &str {
    uri.trim_start_matches('/')
}

fn is_custom_at(resource: &Resource, name: &str) -> bool {
    resource.cust_op_name.as_deref() == Some(name)
        || resource
            .cust_operations
            .iter()
            .flatten()
            .any(|operation| operation.cust_op_name == name)
}

/// Whether a profile offers all of some ways to a token, at one of its interfaces.
///
/// Choice: what takes access tokens and names no way to them has the one that every release knows, client credentials.
fn grants(wanted: &[OAuthGrantType], profile: &AefProfile) -> bool {
    let offers = |methods: Option<&Vec<SecurityMethod>>, types: Option<&Vec<OAuthGrantType>>| {
        let own = methods.filter(|methods| !methods.is_empty());
        let methods = own.or(profile.security_methods.as_ref());
        methods.is_some_and(|methods| methods.contains(&SecurityMethod::Oauth))
            && match types.or(profile.grant_types.as_ref()) {
                Some(types) => wanted.iter().all(|wanted| types.contains(wanted)),
                None => wanted
                    .iter()
                    .all(|wanted| *wanted == OAuthGrantType::ClientCredentials),
            }
    };
    let interfaces = profile.interface_descriptions.as_deref();
    let interfaces = interfaces.unwrap_or_default();
    if interfaces.is_empty() {
        return offers(None, None);
    }
    interfaces.iter().any(|interface| {
        offers(
            interface.security_methods.as_ref(),
            interface.grant_types.as_ref(),
        )
    })
}
