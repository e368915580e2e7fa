//! Publication of service APIs (TS 23.222 clauses 8.3, 8.5 and 8.6, TS 29.222 clause 5.3).
//!
//! What a publisher says and what others are shown of it are two things: see [`crate::topology_hiding`].

mod features;

use capif_spec::{
    common::{DateTime, ServiceApiId},
    events::CapifEvent,
    json,
    publish_service::{PublishedApiPath, ServiceApiDescription},
};
use serde_json::Value;

use crate::{
    changes::{Changes, Expect, Versioned},
    events,
    refusal::Refusal,
    state::{
        AccessControlPolicy, ProviderDomain, ProviderFunction, ServiceApi, ServiceApiName,
        Subscription, TopologyHiding,
    },
    topology_hiding::{self, Moment, Rules, shown},
};

pub use self::features::FEATURES;

/// How long an API's name may be, in octets: it is part of a record's id and of the scope of tokens.
pub const NAME_BYTES_MAX: usize = 1024;

/// The members that a PATCH may carry (TS 29.222 clause 8.2.4.2.11).
const PATCHABLE: [&str; 8] = [
    "apiStatus",
    "aefProfiles",
    "description",
    "shareableInfo",
    "serviceAPICategory",
    "apiSuppFeats",
    "pubApiPath",
    "ccfId",
];

/// How many APIs one provider domain may publish.
pub const APIS_MAX: usize = 1000;

/// Whether a domain that publishes `held` APIs may publish one more.
///
/// # Errors
/// Refuses one too many.
pub fn room(held: usize) -> Result<(), Refusal> {
    if held < APIS_MAX {
        return Ok(());
    }
    Err(Refusal::TooMany {
        what: "published APIs",
        limit: APIS_MAX,
    })
}

/// The largest description, in bytes of JSON: every invoker within reach is sent it.
pub const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;

/// Makes a publication conflict with whatever else happens to its domain, its removal above all: what is removed was listed
/// before.
pub fn within(changes: &mut Changes, domain: &Versioned<ProviderDomain>) {
    changes.put(&domain.record, Expect::At(domain.revision));
}

/// What publications are judged by.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// Whether an id is that of an AEF of the publisher's domain.
    pub is_aef: &'a dyn Fn(&str) -> bool,
    /// What hides a topology.
    pub rules: &'a Rules,
    /// The id of this CAPIF core function.
    pub ccf_id: &'a str,
}

/// Publishes an API.
///
/// # Errors
/// Refuses a description without usable AEF profiles, AEFs of others, profiles without a security method, and what came by this
/// core function before. A name that the domain uses already makes the commit conflict on [`ServiceApiName`], which the edge answers
/// with [`Refusal::ApiNameTaken`].
pub fn publish<'a>(
    description: ServiceApiDescription,
    apf: &ProviderFunction,
    id: ServiceApiId,
    terms: Terms<'_>,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) -> Result<(Changes, ServiceApi), Refusal> {
    if description.api_id.is_some() {
        return Err(Refusal::incorrect(
            "/apiId",
            "`apiId` is given by the CAPIF core function: leave it out",
        ));
    }
    let published = accept(description, id.clone(), None, terms)?;
    let api = ServiceApi {
        id,
        apf_id: apf.id.clone(),
        domain_id: apf.domain_id.clone(),
        description: published.clone(),
        published: None,
        hidden_by: None,
    };
    let api = shown(api, published, terms.rules);
    let mut changes = Changes::new();
    changes.require::<ProviderFunction>(apf.id.as_str(), Expect::Present);
    changes.put(&name_of(&api), Expect::Absent);
    changes.put(&api, Expect::Absent);
    let after = Moment::of(&api, terms.rules);
    topology_hiding::tell(&mut changes, None, Some(after), subscriptions.clone(), now);
    // One that is published inactive becomes available when it is made active.
    if api.is_active() {
        let occurrence = events::of_api(CapifEvent::ServiceApiAvailable, &api);
        events::raise(&mut changes, occurrence, subscriptions, now);
    }
    Ok((changes, api))
}

/// Replaces the description of an API; its id and its publisher stay. A new name moves the domain, whose names may have to do with what
/// is shown.
///
/// # Errors
/// As [`publish`]; and refuses another id.
pub fn replace<'a>(
    held: &Versioned<ServiceApi>,
    description: ServiceApiDescription,
    domain: &Versioned<ProviderDomain>,
    terms: Terms<'_>,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) -> Result<(Changes, ServiceApi), Refusal> {
    let before = &held.record;
    if description
        .api_id
        .as_ref()
        .is_some_and(|id| *id != before.id)
    {
        return Err(Refusal::ModificationNotAllowed {
            member: "apiId".to_owned(),
        });
    }
    let published = before.as_published();
    let published = accept(description, before.id.clone(), Some(published), terms)?;
    let api = shown(before.clone(), published, terms.rules);
    let mut changes = Changes::new();
    if api.description.api_name != before.description.api_name {
        within(&mut changes, domain);
        changes.put(&name_of(&api), Expect::Absent);
        changes.delete::<ServiceApiName>(
            crate::changes::Record::record_id(&name_of(before)),
            Expect::Any,
        );
    }
    changes.put(&api, Expect::At(held.revision));
    topology_hiding::tell(
        &mut changes,
        Some(Moment::of(before, terms.rules)),
        Some(Moment::of(&api, terms.rules)),
        subscriptions.clone(),
        now,
    );
    announce(&mut changes, before, &api, subscriptions, now);
    Ok((changes, api))
}

/// Tells what became of an API. What happens behind an AEF that hides it is nobody's business.
pub(crate) fn announce<'a>(
    changes: &mut Changes,
    before: &ServiceApi,
    api: &ServiceApi,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) {
    if api.hidden_by.is_some() && api.description == before.description {
        return;
    }
    let occurrence = events::of_api(CapifEvent::ServiceApiUpdate, api);
    events::raise(changes, occurrence, subscriptions.clone(), now);
    // Feature ApiStatusMonitoring: that no AEF serves it any more, or one does again, is told like withdrawal and publication.
    let turned = match (before.is_active(), api.is_active()) {
        (true, false) => Some(CapifEvent::ServiceApiUnavailable),
        (false, true) => Some(CapifEvent::ServiceApiAvailable),
        _ => None,
    };
    if let Some(event) = turned {
        let occurrence = events::of_api(event, api);
        events::raise(changes, occurrence, subscriptions, now);
    }
}

/// The description that a merge patch (RFC 7396) makes of the present one.
///
/// # Errors
/// Refuses where PatchUpdate was not agreed on (TS 29.222 clause 7.8), members that cannot be patched, and results that are no
/// description.
pub fn patched(
    held: &ServiceApi,
    patch: &serde_json::Map<String, Value>,
) -> Result<ServiceApiDescription, Refusal> {
    let agreed = held.as_published().supported_features.as_ref();
    if !agreed.is_some_and(|agreed| agreed.has(features::PATCH_UPDATE)) {
        return Err(Refusal::FeatureNotAgreed {
            feature: "PatchUpdate",
            member: "/supportedFeatures",
        });
    }
    for member in patch.keys() {
        if !PATCHABLE.contains(&member.as_str()) && !member.starts_with("vendorSpecific-") {
            return Err(Refusal::ModificationNotAllowed {
                member: member.clone(),
            });
        }
    }
    let mut document = serde_json::to_value(held.as_published())
        .map_err(|_| Refusal::incorrect("", "the description cannot be patched"))?;
    json_patch::merge(&mut document, &Value::Object(patch.clone()));
    json::from_value(document).map_err(|error| Refusal::incorrect(error.pointer, error.reason))
}

/// Withdraws an API.
#[must_use]
pub fn unpublish<'a>(
    held: &Versioned<ServiceApi>,
    rules: &Rules,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) -> Changes {
    let mut changes = Changes::new();
    withdraw(&mut changes, &held.record, Expect::At(held.revision));
    let before = Moment::of(&held.record, rules);
    topology_hiding::tell(&mut changes, Some(before), None, subscriptions.clone(), now);
    let occurrence = events::of_api(CapifEvent::ServiceApiUnavailable, &held.record);
    events::raise(&mut changes, occurrence, subscriptions, now);
    changes
}

/// What goes with an API: the one list of it.
pub(crate) fn withdraw(changes: &mut Changes, api: &ServiceApi, expect: Expect) {
    changes.delete::<ServiceApi>(api.id.as_str(), expect);
    let name = ServiceApiName::id(&api.domain_id, &api.description.api_name);
    changes.delete::<ServiceApiName>(name, Expect::Any);
    changes.delete_prefix::<AccessControlPolicy>(AccessControlPolicy::prefix(&api.id));
    // A rule for its name is for whatever bears it later too.
    changes.delete::<TopologyHiding>(TopologyHiding::of_api(&api.id), Expect::Any);
}

fn name_of(api: &ServiceApi) -> ServiceApiName {
    ServiceApiName {
        domain_id: api.domain_id.clone(),
        api_name: api.description.api_name.clone(),
        api_id: api.id.clone(),
    }
}

fn accept(
    mut description: ServiceApiDescription,
    id: ServiceApiId,
    held: Option<&ServiceApiDescription>,
    terms: Terms<'_>,
) -> Result<ServiceApiDescription, Refusal> {
    features::agree(
        &mut description,
        held.and_then(|held| held.supported_features.as_ref()),
    );
    if description.api_name.len() > NAME_BYTES_MAX {
        return Err(Refusal::incorrect(
            "/apiName",
            format!("`apiName` holds at most {NAME_BYTES_MAX} octets"),
        ));
    }
    let profiles = description.aef_profiles.as_deref().unwrap_or_default();
    if profiles.is_empty() {
        // An APF gives them always (TS 29.222 table 8.2.4.2.2-1, note).
        return Err(Refusal::missing("/aefProfiles"));
    }
    for profile in profiles {
        if !(terms.is_aef)(profile.aef_id.as_str()) {
            return Err(Refusal::AefNotInDomain {
                aef_id: profile.aef_id.to_string(),
            });
        }
        let own = profile.security_methods.as_deref().unwrap_or_default();
        let interfaces = profile
            .interface_descriptions
            .as_deref()
            .unwrap_or_default();
        let silent = |methods: Option<&[_]>| methods.unwrap_or_default().is_empty();
        if own.is_empty()
            && (interfaces.is_empty()
                || interfaces
                    .iter()
                    .any(|interface| silent(interface.security_methods.as_deref())))
        {
            return Err(Refusal::NoSecurityMethod {
                aef_id: profile.aef_id.to_string(),
            });
        }
    }
    let path = held.and_then(|held| held.pub_api_path.as_ref());
    description.pub_api_path = description
        .pub_api_path
        .map(|given| passed(given, path, terms.ccf_id))
        .transpose()?;
    let size = serde_json::to_vec(&description).map_or(usize::MAX, |text| text.len());
    if size > DESCRIPTION_BYTES_MAX {
        return Err(Refusal::incorrect(
            "",
            format!("the description is larger than {DESCRIPTION_BYTES_MAX} bytes"),
        ));
    }
    description.api_id = Some(id);
    Ok(description)
}

/// The path of a publication with this core function at its end (TS 29.222 clause 5.3.2.2). One that led here before is a loop; the
/// path as it was answered may come again.
fn passed(
    mut given: PublishedApiPath,
    held: Option<&PublishedApiPath>,
    ccf_id: &str,
) -> Result<PublishedApiPath, Refusal> {
    if held == Some(&given) {
        return Ok(given);
    }
    let ids = given.ccf_ids.get_or_insert_default();
    if ids.iter().any(|id| id == ccf_id) {
        return Err(Refusal::incorrect(
            "/pubApiPath/ccfIds",
            "the publication passed through this CAPIF core function before: it would go in circles",
        ));
    }
    ids.push(ccf_id.to_owned());
    Ok(given)
}

#[cfg(test)]
mod tests;
