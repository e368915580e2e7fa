//! Publication of service APIs (TS 23.222 clauses 8.3, 8.5 and 8.6, TS 29.222 clause 5.3).

use capif_spec::{
    common::{DateTime, ServiceApiId, SupportedFeatures},
    events::CapifEvent,
    json,
    publish_service::ServiceApiDescription,
};
use serde_json::Value;

use crate::{
    changes::{Changes, Expect, Versioned},
    events,
    refusal::Refusal,
    state::{
        AccessControlPolicy, ProviderDomain, ProviderFunction, ServiceApi, ServiceApiName,
        Subscription,
    },
};

/// Features of the publish API that are served (TS 29.222 table 8.2.6-1): bit 1, ApiSupportedFeaturePublishing; bit 2,
/// PatchUpdate; bit 3, ExtendedIntfDesc.
pub const FEATURES: &str = "7";

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

/// Publishes an API. `is_aef` tells whether an id is that of an AEF of the publisher's domain.
///
/// # Errors
/// Refuses a description without usable AEF profiles, AEFs of others and profiles without a security method. A name that the
/// domain uses already makes the commit conflict on [`ServiceApiName`], which the edge answers with [`Refusal::ApiNameTaken`].
pub fn publish<'a>(
    description: ServiceApiDescription,
    apf: &ProviderFunction,
    id: ServiceApiId,
    is_aef: impl Fn(&str) -> bool,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Result<(Changes, ServiceApi), Refusal> {
    if description.api_id.is_some() {
        return Err(Refusal::incorrect(
            "/apiId",
            "`apiId` is given by the CAPIF core function: leave it out",
        ));
    }
    let api = ServiceApi {
        id: id.clone(),
        apf_id: apf.id.clone(),
        domain_id: apf.domain_id.clone(),
        description: accept(description, id, is_aef)?,
    };
    let mut changes = Changes::new();
    changes.require::<ProviderFunction>(apf.id.as_str(), Expect::Present);
    changes.put(&name_of(&api), Expect::Absent);
    changes.put(&api, Expect::Absent);
    let occurrence = events::of_api(CapifEvent::ServiceApiAvailable, &api);
    events::raise(&mut changes, occurrence, subscriptions, now);
    Ok((changes, api))
}

/// Replaces the description of an API; its id and its publisher stay.
///
/// # Errors
/// As [`publish`]; and refuses another id.
pub fn replace<'a>(
    held: &Versioned<ServiceApi>,
    description: ServiceApiDescription,
    is_aef: impl Fn(&str) -> bool,
    subscriptions: impl Iterator<Item = &'a Subscription>,
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
    let api = ServiceApi {
        description: accept(description, before.id.clone(), is_aef)?,
        ..before.clone()
    };
    let mut changes = Changes::new();
    if api.description.api_name != before.description.api_name {
        changes.put(&name_of(&api), Expect::Absent);
        changes.delete::<ServiceApiName>(
            crate::changes::Record::record_id(&name_of(before)),
            Expect::Any,
        );
    }
    changes.put(&api, Expect::At(held.revision));
    let occurrence = events::of_api(CapifEvent::ServiceApiUpdate, &api);
    events::raise(&mut changes, occurrence, subscriptions, now);
    Ok((changes, api))
}

/// The description that a merge patch (RFC 7396) makes of the present one.
///
/// # Errors
/// Refuses members that cannot be patched and results that are no description.
pub fn patched(
    held: &ServiceApi,
    patch: &serde_json::Map<String, Value>,
) -> Result<ServiceApiDescription, Refusal> {
    for member in patch.keys() {
        if !PATCHABLE.contains(&member.as_str()) && !member.starts_with("vendorSpecific-") {
            return Err(Refusal::ModificationNotAllowed {
                member: member.clone(),
            });
        }
    }
    let mut document = serde_json::to_value(&held.description)
        .map_err(|_| Refusal::incorrect("", "the description cannot be patched"))?;
    json_patch::merge(&mut document, &Value::Object(patch.clone()));
    json::from_value(document).map_err(|error| Refusal::incorrect(error.pointer, error.reason))
}

/// Withdraws an API.
#[must_use]
pub fn unpublish<'a>(
    held: &Versioned<ServiceApi>,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Changes {
    let mut changes = Changes::new();
    changes.delete::<ServiceApi>(held.record.id.as_str(), Expect::At(held.revision));
    changes.delete::<ServiceApiName>(
        crate::changes::Record::record_id(&name_of(&held.record)),
        Expect::Any,
    );
    changes.delete_prefix::<AccessControlPolicy>(AccessControlPolicy::prefix(&held.record.id));
    let occurrence = events::of_api(CapifEvent::ServiceApiUnavailable, &held.record);
    events::raise(&mut changes, occurrence, subscriptions, now);
    changes
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
    is_aef: impl Fn(&str) -> bool,
) -> Result<ServiceApiDescription, Refusal> {
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
        if !is_aef(profile.aef_id.as_str()) {
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
    let size = serde_json::to_vec(&description).map_or(usize::MAX, |text| text.len());
    if size > DESCRIPTION_BYTES_MAX {
        return Err(Refusal::incorrect(
            "",
            format!("the description is larger than {DESCRIPTION_BYTES_MAX} bytes"),
        ));
    }
    description.api_id = Some(id);
    description.supported_features = description
        .supported_features
        .map(|features| features.intersect(&SupportedFeatures::from(FEATURES)));
    Ok(description)
}

#[cfg(test)]
mod tests;
