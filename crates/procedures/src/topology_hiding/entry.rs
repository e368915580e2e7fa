//! Where the AEF that hides a topology takes calls, and the profile that is shown of it.

use capif_spec::{
    common::{AefId, Checked},
    publish_service::{AefProfile, SecurityMethod, Version},
};

use crate::{
    discovery,
    refusal::Refusal,
    security_method::methods_of,
    state::{Entry, ServiceApi, TopologyHiding},
};

/// How many interfaces an entry may have.
const INTERFACES_MAX: usize = 64;

/// Where an AEF takes calls by its own word: as it exposes this API, or else another one.
pub fn entry_of<'a>(
    aef: &AefId,
    api: Option<&ServiceApi>,
    apis: impl Iterator<Item = &'a ServiceApi>,
) -> Option<Entry> {
    let published = |api: &ServiceApi| {
        let mut profiles = api.as_published().aef_profiles.iter().flatten();
        profiles.find(|profile| profile.aef_id == *aef).map(of)
    };
    api.and_then(published)
        .or_else(|| apis.into_iter().find_map(published))
}

fn of(profile: &AefProfile) -> Entry {
    Entry {
        domain_name: profile.domain_name.clone(),
        interfaces: profile.interface_descriptions.clone().unwrap_or_default(),
        security_methods: profile.security_methods.clone().unwrap_or_default(),
    }
}

pub(super) fn check(entry: &Entry) -> Result<(), Refusal> {
    if entry.interfaces.is_empty() == entry.domain_name.is_none() {
        return Err(Refusal::incorrect(
            "/interfaces",
            "it must be known where the AEF takes the calls: name its interfaces, or have it publish an API of its own first",
        ));
    }
    if entry.interfaces.len() > INTERFACES_MAX {
        return Err(Refusal::TooMany {
            what: "interfaces of one rule",
            limit: INTERFACES_MAX,
        });
    }
    for (index, interface) in entry.interfaces.iter().enumerate() {
        interface.check().map_err(|violation| {
            let pointer = format!("/interfaces/{index}{}", violation.pointer);
            Refusal::incorrect(pointer, violation.reason)
        })?;
    }
    let unknown = |method: &&SecurityMethod| matches!(method, SecurityMethod::Other(_));
    match entry.security_methods.iter().find(unknown) {
        Some(method) => Err(Refusal::incorrect(
            "/securityMethods",
            format!("`{method}` is no security method: PSK, PKI and OAUTH are"),
        )),
        None => Ok(()),
    }
}

/// The profile that is shown in the place of others: where the AEF takes calls is its own; what can be called, and how it is
/// written, is theirs. Where those stand, what they bear and whom they serve is part of what is hidden, and so is whatever a vendor says
/// there.
#[must_use]
pub fn profile_of(rule: &TopologyHiding, behind: &[&AefProfile]) -> AefProfile {
    let entry = &rule.entry;
    let mut methods = entry.security_methods.clone();
    let silent = |methods: Option<&Vec<SecurityMethod>>| methods.is_none_or(Vec::is_empty);
    let is_said = !entry.interfaces.is_empty()
        && !entry
            .interfaces
            .iter()
            .any(|interface| silent(interface.security_methods.as_ref()));
    if methods.is_empty() && !is_said {
        for method in behind.iter().flat_map(|profile| methods_of(profile)) {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
    }
    AefProfile {
        aef_id: rule.aef_id.clone(),
        versions: versions(behind),
        protocol: common(behind.iter().map(|profile| &profile.protocol)),
        data_format: common(behind.iter().map(|profile| &profile.data_format)),
        security_methods: (!methods.is_empty()).then_some(methods),
        grant_types: common(behind.iter().map(|profile| &profile.grant_types)),
        domain_name: entry.domain_name.clone(),
        interface_descriptions: (!entry.interfaces.is_empty()).then(|| entry.interfaces.clone()),
        aef_location: None,
        service_kpis: None,
        ue_ip_range: None,
        extra: Default::default(),
    }
}

/// What all of them say.
fn common<'a, T: Clone + PartialEq + 'a>(
    mut said: impl Iterator<Item = &'a Option<T>>,
) -> Option<T> {
    let first = said.next()?;
    said.all(|other| other == first).then(|| first.clone())?
}

/// The versions of all of them, each once with everything that stands there.
fn versions(behind: &[&AefProfile]) -> Vec<Version> {
    let mut all: Vec<Version> = Vec::new();
    for version in behind.iter().flat_map(|profile| &profile.versions) {
        let version = discovery::plain(version);
        match all
            .iter_mut()
            .find(|known| known.api_version == version.api_version)
        {
            None => all.push(version),
            Some(known) => {
                merge(&mut known.resources, version.resources);
                merge(&mut known.cust_operations, version.cust_operations);
            }
        }
    }
    all
}

fn merge<T: PartialEq>(into: &mut Option<Vec<T>>, from: Option<Vec<T>>) {
    for one in from.into_iter().flatten() {
        let list = into.get_or_insert_default();
        if !list.contains(&one) {
            list.push(one);
        }
    }
}
