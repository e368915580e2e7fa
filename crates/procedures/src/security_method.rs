//! Negotiation of the security method for CAPIF-2/2e (TS 33.122 clause 6.3, TS 29.222 clause 5.6.2.2).
//!
//! The invoker says per AEF (or interface, or API) what it can do; the AEF published what it accepts; the operator has an
//! order. The method is the first of the operator's order that both others hold. No common method is no error: the entry
//! is answered without one (TS 29.222 table 8.5.4.2.3-1).

use capif_spec::{
    common::SupportedFeatures,
    publish_service::{AefProfile, InterfaceDescription, SecurityMethod},
    security::{SecurityInformation, ServiceSecurity},
};

use crate::{
    changes::{Changes, Expect, Revision, Versioned},
    refusal::Refusal,
    state::{Invoker, SecurityContext, SecurityEntry, ServiceApi},
};

/// Features of the security API that are served (TS 29.222 table 8.5.6-1): bit 3, SecurityInfoPerAPI.
pub const FEATURES: &str = "4";

/// The number of the feature by which entries name single APIs.
const SECURITY_INFO_PER_API: u32 = 3;

/// How many entries one request may hold.
pub const ENTRIES_MAX: usize = 256;

/// Every method that some interface of a profile accepts. What an interface says wins over the profile (D-34).
#[must_use]
pub fn methods_of(profile: &AefProfile) -> Vec<SecurityMethod> {
    let mut all = Vec::new();
    for methods in methods_by_interface(profile) {
        for method in methods {
            if !all.contains(method) {
                all.push(method.clone());
            }
        }
    }
    all
}

/// The methods of each interface; of the profile alone when it lists no interface.
fn methods_by_interface(profile: &AefProfile) -> Vec<&[SecurityMethod]> {
    let interfaces = profile
        .interface_descriptions
        .as_deref()
        .unwrap_or_default();
    if interfaces.is_empty() {
        return vec![profile.security_methods.as_deref().unwrap_or_default()];
    }
    interfaces
        .iter()
        .map(|interface| interface_methods(profile, interface))
        .collect()
}

/// The methods of those interfaces of a profile that an entry is about: of all of them, or of the one at the address that
/// it names.
fn methods_at<'a>(
    profile: &'a AefProfile,
    wanted: &SecurityInformation,
) -> Vec<&'a [SecurityMethod]> {
    let Some(wanted) = &wanted.interface_details else {
        return methods_by_interface(profile);
    };
    profile
        .interface_descriptions
        .iter()
        .flatten()
        .filter(|offered| same_address(offered, wanted))
        .map(|offered| interface_methods(profile, offered))
        .collect()
}

fn interface_methods<'a>(
    profile: &'a AefProfile,
    interface: &'a InterfaceDescription,
) -> &'a [SecurityMethod] {
    match interface.security_methods.as_deref() {
        Some(methods) if !methods.is_empty() => methods,
        _ => profile.security_methods.as_deref().unwrap_or_default(),
    }
}

/// Negotiates a context anew. `order` is the operator's, the preferred method first; `apis` are all published ones.
///
/// # Errors
/// Refuses entries without exactly one of AEF and interface, without preferences, and AEFs beyond the invoker's reach.
pub fn negotiate<'a>(
    request: ServiceSecurity,
    invoker: &Invoker,
    held: Option<&Versioned<SecurityContext>>,
    apis: impl Iterator<Item = &'a ServiceApi>,
    order: &[SecurityMethod],
) -> Result<(Changes, ServiceSecurity), Refusal> {
    if request.security_info.is_empty() || request.security_info.len() > ENTRIES_MAX {
        return Err(Refusal::incorrect(
            "/securityInfo",
            format!("`securityInfo` holds 1 to {ENTRIES_MAX} entries"),
        ));
    }
    let features = request
        .supported_features
        .as_ref()
        .map(|features| features.intersect(&SupportedFeatures::from(FEATURES)));
    let per_api = features
        .as_ref()
        .is_some_and(|features| features.has(SECURITY_INFO_PER_API));
    let reachable: Vec<&ServiceApi> = apis.filter(|api| invoker.reach.includes(api)).collect();
    let entries = request
        .security_info
        .iter()
        .enumerate()
        .map(|(index, wanted)| entry(index, wanted, per_api, &reachable, order))
        .collect::<Result<Vec<_>, _>>()?;

    let context = SecurityContext {
        invoker_id: invoker.id.clone(),
        generation: generation(held.map(|held| &held.record), &entries),
        entries,
        notification_destination: request.notification_destination.clone(),
        features: features
            .clone()
            .unwrap_or_else(|| SupportedFeatures::from("0")),
    };
    let answer = ServiceSecurity {
        security_info: context
            .entries
            .iter()
            .map(|entry| entry.information.clone())
            .collect(),
        supported_features: features,
        request_test_notification: None,
        websock_notif_config: None,
        ..request
    };
    let mut changes = Changes::new();
    changes.require::<Invoker>(invoker.id.as_str(), Expect::Present);
    let revision: Option<Revision> = held.map(|held| held.revision);
    changes.put(&context, revision.map_or(Expect::Absent, Expect::At));
    Ok((changes, answer))
}

/// The same number while nothing is taken away, so that repeating a negotiation kills no token; one more otherwise.
fn generation(held: Option<&SecurityContext>, entries: &[SecurityEntry]) -> u64 {
    let Some(held) = held else { return 1 };
    let kept = held.entries.iter().all(|before| {
        let method = &before.information.sel_security_method;
        method.is_none()
            || entries.iter().any(|now| {
                now.aef_id == before.aef_id
                    && now.api_id == before.api_id
                    && same_interface(&now.information, &before.information)
                    && now.information.sel_security_method == *method
            })
    });
    if kept {
        held.generation
    } else {
        held.generation.saturating_add(1)
    }
}

fn entry(
    index: usize,
    wanted: &SecurityInformation,
    per_api: bool,
    reachable: &[&ServiceApi],
    order: &[SecurityMethod],
) -> Result<SecurityEntry, Refusal> {
    let pointer = |member: &str| format!("/securityInfo/{index}{member}");
    if wanted.pref_security_methods.is_empty() {
        return Err(Refusal::missing(pointer("/prefSecurityMethods")));
    }
    let api_id = wanted.api_id.clone().filter(|_| per_api);
    let concerned = reachable
        .iter()
        .filter(|api| api_id.as_ref().is_none_or(|id| *id == api.id))
        .flat_map(|api| api.description.aef_profiles.iter().flatten());
    // What each concerned interface accepts, with the AEF that it belongs to.
    let (aef_id, offers) = match (&wanted.aef_id, &wanted.interface_details) {
        (Some(aef_id), None) => {
            let offers: Vec<&[SecurityMethod]> = concerned
                .filter(|profile| profile.aef_id == *aef_id)
                .flat_map(|profile| methods_at(profile, wanted))
                .collect();
            (Some(aef_id.clone()), offers)
        }
        (None, Some(_)) => {
            let mut aef_id = None;
            let mut offers = Vec::new();
            for profile in concerned {
                let here = methods_at(profile, wanted);
                if !here.is_empty() {
                    aef_id = Some(profile.aef_id.clone());
                    offers.extend(here);
                }
            }
            (aef_id, offers)
        }
        _ => {
            return Err(Refusal::incorrect(
                pointer(""),
                "each entry names exactly one of `aefId` and `interfaceDetails`",
            ));
        }
    };
    let aef_id = aef_id
        .filter(|_| !offers.is_empty())
        .ok_or_else(|| Refusal::AefOutOfReach {
            aef_id: wanted
                .aef_id
                .as_ref()
                .map_or_else(|| "(interfaceDetails)".to_owned(), ToString::to_string),
        })?;
    let selected = order
        .iter()
        .find(|method| {
            wanted.pref_security_methods.contains(method)
                && offers.iter().all(|offered| offered.contains(method))
        })
        .cloned();
    let information = SecurityInformation {
        authentication_info: selected
            .as_ref()
            .map(|method| serde_json::json!({ "method": method }).to_string()),
        authorization_info: None,
        sel_security_method: selected,
        api_id: api_id.clone(),
        grant_type: None,
        ..wanted.clone()
    };
    Ok(SecurityEntry {
        aef_id,
        api_id,
        information,
    })
}

fn same_address(offered: &InterfaceDescription, wanted: &InterfaceDescription) -> bool {
    offered.ipv4_addr == wanted.ipv4_addr
        && offered.ipv6_addr == wanted.ipv6_addr
        && offered.fqdn == wanted.fqdn
        && offered.port == wanted.port
        && offered.api_prefix == wanted.api_prefix
}

fn same_interface(one: &SecurityInformation, other: &SecurityInformation) -> bool {
    match (&one.interface_details, &other.interface_details) {
        (None, None) => true,
        (Some(one), Some(other)) => same_address(one, other),
        _ => false,
    }
}

/// Which of an invoker's APIs at which AEF go by which method, as things stand now: derived at each use, so that a
/// withdrawn API is out of every later token and answer (P-26), and so is one whose AEF no longer takes the method, or never
/// did because it was published after the negotiation (TS 33.122 clause 6.7).
pub fn granted<'a>(
    invoker: &'a Invoker,
    context: &'a SecurityContext,
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
) -> impl Iterator<Item = Grant<'a>> {
    context
        .entries
        .iter()
        .flat_map(move |entry| granted_by(entry, invoker, apis.clone()))
}

/// The part of [`granted`] that one entry brings.
pub fn granted_by<'a>(
    entry: &'a SecurityEntry,
    invoker: &'a Invoker,
    apis: impl Iterator<Item = &'a ServiceApi>,
) -> impl Iterator<Item = Grant<'a>> {
    apis.filter_map(move |api| {
        let concerned = entry.api_id.as_ref().is_none_or(|id| *id == api.id);
        let method = entry.information.sel_security_method.as_ref()?;
        (concerned && invoker.reach.includes(api) && takes(api, entry, method)).then_some(Grant {
            entry,
            api,
            method,
        })
    })
}

/// The APIs that an entry is about but whose method has changed since: the invoker has to ask which counts now (TS 33.122
/// clause 6.7).
pub fn outdated<'a>(
    invoker: &'a Invoker,
    entry: &'a SecurityEntry,
    apis: impl Iterator<Item = &'a ServiceApi>,
) -> impl Iterator<Item = &'a ServiceApi> {
    apis.filter(move |api| {
        let concerned = entry.api_id.as_ref().is_none_or(|id| *id == api.id);
        let method = entry.information.sel_security_method.as_ref();
        concerned
            && invoker.reach.includes(api)
            && offers(api, entry).next().is_some()
            && method.is_some_and(|method| !takes(api, entry, method))
    })
}

/// Whether an API is exposed where an entry says, and takes a method everywhere there.
fn takes(api: &ServiceApi, entry: &SecurityEntry, method: &SecurityMethod) -> bool {
    let mut offers = offers(api, entry).peekable();
    offers.peek().is_some() && offers.all(|offered| offered.contains(method))
}

/// What each interface that an entry is about accepts.
fn offers<'a>(
    api: &'a ServiceApi,
    entry: &'a SecurityEntry,
) -> impl Iterator<Item = &'a [SecurityMethod]> {
    let profiles = api.description.aef_profiles.iter().flatten();
    profiles
        .filter(|profile| profile.aef_id == entry.aef_id)
        .flat_map(|profile| methods_at(profile, &entry.information))
}

/// One API at one AEF that an invoker may call, and how.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The entry that it comes from.
    pub entry: &'a SecurityEntry,
    /// The API.
    pub api: &'a ServiceApi,
    /// The method that counts.
    pub method: &'a SecurityMethod,
}

#[cfg(test)]
mod tests;
