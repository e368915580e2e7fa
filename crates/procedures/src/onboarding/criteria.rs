//! Onboarding criteria: what an API invoker asks of the APIs that it is enrolled for (TS 23.222 clause 8.1, TS 29.222 clause
//! 8.4.4.2.3).
//!
//! Each criterion names security methods that the invoker can use, and the APIs that it is about: those of some AEFs, of some
//! categories, or some by name and version; all of them if it names none.
//!
//! Choice: the three ways to name APIs add to one another, since a criterion needs only one of them. An API meets a criterion when
//! one of its AEF profiles in question takes one of the methods in one of the versions. It meets the criteria when it meets each
//! one that is about it.

use capif_spec::{
    api_invoker_management::{OnboardingCriteria, RelatedCriteria},
    publish_service::AefProfile,
};

use crate::{refusal::Refusal, security_method::methods_of, state::ServiceApi};

/// How many criteria one request may hold, and how many members each list in them.
pub(super) const CRITERIA_MAX: usize = 64;

/// How large they may be together, in bytes of JSON: providers are told of those that are not met.
const CRITERIA_BYTES_MAX: usize = 32 * 1024;

/// Refuses more criteria than are looked at.
pub(super) fn bounded(criteria: &[OnboardingCriteria]) -> Result<(), Refusal> {
    let most = |criterion: &OnboardingCriteria| {
        let related = criterion.related_criteria.as_ref();
        let lists = related.map(|related| {
            let apis = related.apis.iter().flatten();
            let versions = apis.map(|api| api.supported_api_versions.as_ref().map_or(0, Vec::len));
            versions
                .chain([
                    related.aef_ids.as_ref().map_or(0, Vec::len),
                    related.service_api_categories.as_ref().map_or(0, Vec::len),
                    related.apis.as_ref().map_or(0, Vec::len),
                ])
                .max()
                .unwrap_or_default()
        });
        criterion.sec_methods.len().max(lists.unwrap_or_default())
    };
    let largest = criteria.iter().map(most).max().unwrap_or_default();
    if criteria.len().max(largest) > CRITERIA_MAX {
        return Err(Refusal::incorrect(
            "/onboardingInformation/onboardingCriteria",
            format!(
                "at most {CRITERIA_MAX} criteria are looked at, and lists of at most {CRITERIA_MAX} in them"
            ),
        ));
    }
    if serde_json::to_vec(criteria).map_or(usize::MAX, |text| text.len()) > CRITERIA_BYTES_MAX {
        return Err(Refusal::incorrect(
            "/onboardingInformation/onboardingCriteria",
            format!("criteria have at most {CRITERIA_BYTES_MAX} bytes together"),
        ));
    }
    Ok(())
}

/// Whether an API meets the criteria.
pub(super) fn meets(criteria: &[OnboardingCriteria], api: &ServiceApi) -> bool {
    criteria.iter().all(|criterion| meets_one(criterion, api))
}

fn meets_one(criterion: &OnboardingCriteria, api: &ServiceApi) -> bool {
    let Some(related) = &criterion.related_criteria else {
        return profiles(api).any(|profile| takes(profile, criterion, None));
    };
    let description = &api.description;
    let named = related.apis.iter().flatten();
    let mut named = named
        .filter(|info| info.api_name == description.api_name)
        .peekable();
    let is_named = named.peek().is_some();
    // Named several times, it may come in any of the versions.
    let any_version = named
        .clone()
        .any(|info| info.supported_api_versions.is_none());
    let versions: Vec<&String> = named
        .flat_map(|info| info.supported_api_versions.iter().flatten())
        .collect();
    let versions = (is_named && !any_version).then_some(versions.as_slice());
    if is_named || of_category(related, api) {
        return profiles(api).any(|profile| takes(profile, criterion, versions));
    }
    let at_aefs = related.aef_ids.iter().flatten();
    let mut concerned = profiles(api)
        .filter(|profile| at_aefs.clone().any(|id| *id == profile.aef_id))
        .peekable();
    concerned.peek().is_none() || concerned.any(|profile| takes(profile, criterion, None))
}

fn of_category(related: &RelatedCriteria, api: &ServiceApi) -> bool {
    let category = api.description.service_api_category.as_ref();
    let mut categories = related.service_api_categories.iter().flatten();
    category.is_some_and(|category| categories.any(|wanted| wanted == category))
}

fn profiles(api: &ServiceApi) -> impl Iterator<Item = &AefProfile> {
    api.description.aef_profiles.iter().flatten()
}

fn takes(
    profile: &AefProfile,
    criterion: &OnboardingCriteria,
    versions: Option<&[&String]>,
) -> bool {
    let offered = methods_of(profile);
    let version = |wanted: &[&String]| {
        let mut versions = profile.versions.iter();
        versions.any(|version| wanted.contains(&&version.api_version))
    };
    criterion
        .sec_methods
        .iter()
        .any(|method| offered.contains(method))
        && versions.is_none_or(version)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::*;

    fn criteria(document: Value) -> Vec<OnboardingCriteria> {
        wire(document)
    }

    /// Each way to name APIs, alone and beside the others, with and without the method that is offered.
    #[test]
    fn an_api_meets_what_is_about_it() {
        let mut weather = api(
            "A1",
            "weather",
            &[profile("AEF1", &[Pki]), profile("AEF2", &[Oauth])],
        );
        weather.description.service_api_category = Some("sky".to_owned());
        let of = |related: Value, methods: &[&str]| json!([{ "secMethods": methods, "relatedCriteria": related }]);
        let named = |version: Option<&str>| match version {
            Some(version) => {
                json!({ "apis": [{ "apiName": "weather", "supportedApiVersions": [version] }] })
            }
            None => json!({ "apis": [{ "apiName": "weather" }] }),
        };
        let cases = [
            (json!([]), true),
            (json!([{ "secMethods": ["PKI"] }]), true),
            (json!([{ "secMethods": ["PSK", "OAUTH"] }]), true),
            (json!([{ "secMethods": ["PSK"] }]), false),
            (json!([{ "secMethods": ["METHOD_9"] }]), false),
            (
                json!([{ "secMethods": ["PKI"] }, { "secMethods": ["PSK"] }]),
                false,
            ),
            (of(named(None), &["OAUTH"]), true),
            (of(named(None), &["PSK"]), false),
            (of(named(Some("v1")), &["PKI"]), true),
            (of(named(Some("v2")), &["PKI"]), false),
            (
                of(json!({ "apis": [{ "apiName": "tides" }] }), &["PSK"]),
                true,
            ),
            (
                of(json!({ "serviceAPICategories": ["sea", "sky"] }), &["PKI"]),
                true,
            ),
            (
                of(json!({ "serviceAPICategories": ["sky"] }), &["PSK"]),
                false,
            ),
            (
                of(json!({ "serviceAPICategories": ["sea"] }), &["PSK"]),
                true,
            ),
            (of(json!({ "aefIds": ["AEF1"] }), &["PKI"]), true),
            (of(json!({ "aefIds": ["AEF2"] }), &["PKI"]), false),
            (of(json!({ "aefIds": ["AEF1", "AEF2"] }), &["OAUTH"]), true),
            (of(json!({ "aefIds": ["AEF3"] }), &["PSK"]), true),
            (
                of(
                    json!({ "aefIds": ["AEF3"], "serviceAPICategories": ["sky"] }),
                    &["PSK"],
                ),
                false,
            ),
            (
                of(
                    json!({ "apis": [
                        { "apiName": "weather", "supportedApiVersions": ["v2"] },
                        { "apiName": "weather" },
                    ] }),
                    &["PKI"],
                ),
                true,
            ),
        ];
        for (document, expected) in cases {
            let found = meets(&criteria(document.clone()), &weather);
            assert_eq!(found, expected, "{document}");
        }
        let bare = api("A2", "bare", &[]);
        assert!(!meets(&criteria(json!([{ "secMethods": ["PKI"] }])), &bare));
        assert!(meets(&[], &bare));
    }

    #[test]
    fn criteria_are_bounded() {
        let one = json!({ "secMethods": ["PKI"] });
        assert!(bounded(&criteria(json!(vec![one.clone(); CRITERIA_MAX]))).is_ok());
        assert!(bounded(&criteria(json!(vec![one; CRITERIA_MAX + 1]))).is_err());
        let many = vec!["x"; CRITERIA_MAX + 1];
        for broken in [
            json!([{ "secMethods": many }]),
            json!([{ "secMethods": ["PKI"], "relatedCriteria": { "aefIds": many } }]),
            json!([{ "secMethods": ["PKI"], "relatedCriteria": { "serviceAPICategories": many } }]),
            json!([{ "secMethods": ["PKI"], "relatedCriteria": {
                "apis": [{ "apiName": "a", "supportedApiVersions": many }],
            } }]),
            json!([{ "secMethods": ["x".repeat(CRITERIA_BYTES_MAX)] }]),
        ] {
            let refusal = bounded(&criteria(broken)).unwrap_err();
            assert!(
                matches!(&refusal, Refusal::Malformed { pointer, .. } if pointer.ends_with("onboardingCriteria")),
                "{refusal:?}"
            );
        }
    }
}
