//! What an API invoker and the core function add to an enrolment: how a request is called, so that it can be asked again, and
//! how certificate and secret are renewed without offboarding (R-U-01).

use serde::{Deserialize, Serialize, Serializer};

use super::{MEMBER, read};
use crate::{
    api_invoker_management::OnboardingInformation,
    checked::Violation,
    common::{DateTime, Extra},
    json::{self, present},
    renewal::TrustList,
};

/// The feature by which certificate and Onboard_Secret are renewed without offboarding.
pub const RENEWAL: &str = "renewal";

/// How many features one request may name.
const FEATURES_MAX: usize = 16;

/// The longest name of a feature, and of a request, in octets.
const NAME_BYTES_MAX: usize = 64;

/// What a requester calls its request. Whoever lost the answer sends the same request under the same name and gets the same
/// answer. 1 to 64 of the letters, the digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestName(String);

impl RequestName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text cannot name a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {EXPECTED_NAME}")]
pub struct NotAName;

const EXPECTED_NAME: &str = "1 to 64 of A to Z, a to z, 0 to 9, `_` and `-`";

impl std::str::FromStr for RequestName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"_-".contains(&octet);
        let sound = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain);
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAName)
        }
    }
}

impl std::fmt::Display for RequestName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RequestName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RequestName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::from_text(deserializer, |text| text.parse().map_err(|_| EXPECTED_NAME))
    }
}

/// What is added to an enrolment as a whole: beside its members, in requests and answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnrolmentTerms {
    /// The features of this product's own: those that the requester has, and of these in the answer those that are agreed on.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
    /// What the requester calls its attempt to be onboarded.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub attempt: Option<RequestName>,
    /// In an answer while the authority is being replaced: whom to believe besides the root that the enrolment began with.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustList>,
}

impl EnrolmentTerms {
    /// Terms that name the feature [`RENEWAL`].
    #[must_use]
    pub fn renewable() -> Self {
        Self {
            features: Some(vec![RENEWAL.to_owned()]),
            attempt: None,
            trust: None,
        }
    }

    /// Reads the terms from the members that the schema does not name.
    ///
    /// # Errors
    /// Names the member that cannot be.
    pub fn of(extra: &Extra) -> Result<Self, Violation> {
        let terms: Self = read(extra)?;
        let features = terms.features.iter().flatten();
        let sound = features.clone().count() <= FEATURES_MAX
            && features
                .clone()
                .all(|feature| (1..=NAME_BYTES_MAX).contains(&feature.len()));
        if !sound {
            return Err(Violation::new(
                format!("/{MEMBER}/features"),
                format!(
                    "`features` holds at most {FEATURES_MAX} names of 1 to {NAME_BYTES_MAX} bytes"
                ),
            ));
        }
        Ok(terms)
    }

    /// Whether the feature [`RENEWAL`] is among them.
    #[must_use]
    pub fn has_renewal(&self) -> bool {
        self.features
            .iter()
            .flatten()
            .any(|feature| feature == RENEWAL)
    }

    /// Puts the terms in place of whatever stood there.
    pub fn write(&self, extra: &mut Extra) {
        write(self, extra);
    }
}

/// What is added to the onboarding information: in a request how a renewal is called, in an answer that and how long what was
/// handed over is good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RenewalTerms {
    /// What the requester calls the renewal.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub renewal: Option<RequestName>,
    /// When the certificate ends.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub certificate_expires: Option<DateTime>,
    /// When the Onboard_Secret ends; never if absent.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub secret_expires: Option<DateTime>,
    /// How long what is replaced still counts, from the first use of what replaces it on.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u64>,
}

impl RenewalTerms {
    /// Reads the terms of onboarding information.
    ///
    /// # Errors
    /// Names the member that cannot be.
    pub fn of(information: &OnboardingInformation) -> Result<Self, Violation> {
        read(&information.extra)
    }

    /// Puts the terms in place of whatever stood there.
    pub fn write(&self, extra: &mut Extra) {
        write(self, extra);
    }
}

fn write(terms: &impl Serialize, extra: &mut Extra) {
    match serde_json::to_value(terms) {
        Ok(value) if value.as_object().is_some_and(|members| !members.is_empty()) => {
            extra.insert(MEMBER.to_owned(), value);
        }
        _ => drop(extra.remove(MEMBER)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api_invoker_management::ApiInvokerEnrolmentDetails;

    fn details(top: &Value, inside: &Value) -> ApiInvokerEnrolmentDetails {
        serde_json::from_value(json!({
            "onboardingInformation": { "apiInvokerPublicKey": "key", MEMBER: inside },
            "notificationDestination": "https://invoker.example/notify",
            MEMBER: top,
        }))
        .unwrap()
    }

    #[test]
    fn terms_read_as_they_are_written() {
        let mut details = details(
            &json!({ "features": ["other", "renewal"], "attempt": "A-1_b", "more": 1 }),
            &json!({ "renewal": "r" }),
        );
        let terms = EnrolmentTerms::of(&details.extra).unwrap();
        assert!(terms.has_renewal());
        assert_eq!(terms.attempt, Some("A-1_b".parse().unwrap()));
        let inside = RenewalTerms::of(&details.onboarding_information).unwrap();
        assert_eq!(inside.renewal, Some("r".parse().unwrap()));

        let answer = RenewalTerms {
            certificate_expires: Some("2026-05-01T00:00:00Z".parse().unwrap()),
            overlap_seconds: Some(3600),
            ..inside
        };
        answer.write(&mut details.onboarding_information.extra);
        assert_eq!(
            RenewalTerms::of(&details.onboarding_information),
            Ok(answer)
        );
        EnrolmentTerms::renewable().write(&mut details.extra);
        assert_eq!(details.extra[MEMBER], json!({ "features": ["renewal"] }));
        EnrolmentTerms::default().write(&mut details.extra);
        assert!(!details.extra.contains_key(MEMBER));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let long = "x".repeat(65);
        for (top, pointer) in [
            (json!("renewal"), ""),
            (json!([]), ""),
            (json!({ "features": "renewal" }), "/features"),
            (json!({ "features": null }), "/features"),
            (json!({ "features": [long] }), "/features"),
            (json!({ "features": [""] }), "/features"),
            (json!({ "features": vec!["x"; 17] }), "/features"),
            (json!({ "attempt": "" }), "/attempt"),
            (json!({ "attempt": long }), "/attempt"),
            (json!({ "attempt": "a/b" }), "/attempt"),
            (json!({ "attempt": "ä" }), "/attempt"),
            (json!({ "attempt": 1 }), "/attempt"),
        ] {
            let found = EnrolmentTerms::of(&details(&top, &json!({})).extra);
            let violation = found.unwrap_err();
            assert_eq!(violation.pointer, format!("/{MEMBER}{pointer}"), "{top}");
        }
        for inside in [json!({ "renewal": "a b" }), json!({ "renewal": null })] {
            let details = details(&json!({}), &inside);
            let violation = RenewalTerms::of(&details.onboarding_information).unwrap_err();
            assert_eq!(violation.pointer, format!("/{MEMBER}/renewal"), "{inside}");
        }
    }
}
