//! Criteria about vendor members (TS 29.222 clause 7.11): `vend-spec-<name>={"target": <JSON pointer>, "value": …}`.
//!
//! The target points, from the description of an API, to the object that holds the member `<name>`, or to the member itself.
//!
//! Choice: the standard does not say how a pointer passes a list whose order the asker does not know. A list without an index in
//! the pointer is met by any of its items, as deployed core functions have it. Targets are the API itself, its AEF profiles,
//! and the versions and interfaces of these; what lies there within a vendor member is reached too.

use capif_spec::{
    common::Extra,
    publish_service::{AefProfile, ServiceApiDescription},
};
use serde_json::Value;

use crate::refusal::{Refusal, RequestFault};

/// How many steps a target may have.
const STEPS_MAX: usize = 16;

/// A vendor member that must have a value.
#[derive(Clone, Debug, PartialEq)]
pub struct VendorCriterion {
    place: Place,
    /// The steps from the object's vendor members on.
    steps: Vec<String>,
    value: Value,
}

/// The object whose vendor member is meant. An index picks one item of a list.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Api,
    Profile(Option<usize>),
    Version(Option<usize>, Option<usize>),
    Interface(Option<usize>, Option<usize>),
}

impl VendorCriterion {
    /// Makes a criterion of what stands in the query.
    ///
    /// # Errors
    /// Refuses targets that lead nowhere.
    pub fn new(parameter: &str, name: &str, target: &str, value: Value) -> Result<Self, Refusal> {
        let wrong = |reason: &str| Refusal::Malformed {
            pointer: parameter.to_owned(),
            reason: reason.to_owned(),
            fault: RequestFault::QueryIncorrect,
        };
        if name.is_empty() {
            return Err(wrong("a member is named after `vend-spec-`"));
        }
        if !target.is_empty() && !target.starts_with('/') {
            return Err(wrong(
                "`target` is a JSON pointer: empty, or it begins with `/`",
            ));
        }
        let mut steps: Vec<String> = target
            .split('/')
            .skip(1)
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect();
        // `/` alone is in use for the description itself.
        if steps == [""] {
            steps.clear();
        }
        if steps.last().map(String::as_str) != Some(name) {
            steps.push(name.to_owned());
        }
        if steps.len() > STEPS_MAX {
            return Err(wrong("`target` has too many steps"));
        }
        let mut steps = std::collections::VecDeque::from(steps);
        let mut list = |wanted: &str| {
            if steps.front().map(String::as_str) != Some(wanted) {
                return None;
            }
            steps.pop_front();
            let index = steps.front().and_then(|step| step.parse().ok());
            if index.is_some() {
                steps.pop_front();
            }
            Some(index)
        };
        let place = match list("aefProfiles") {
            None => Place::Api,
            Some(profile) => {
                if let Some(index) = list("versions") {
                    Place::Version(profile, index)
                } else if let Some(index) = list("interfaceDescriptions") {
                    Place::Interface(profile, index)
                } else {
                    Place::Profile(profile)
                }
            }
        };
        Ok(Self {
            place,
            steps: steps.into(),
            value,
        })
    }

    /// The name of the vendor member that it leads into.
    pub(super) fn name(&self) -> Option<&str> {
        self.steps.first().map(String::as_str)
    }

    /// Whether this is about the API as a whole and does not hold for it.
    pub(super) fn fails_for(&self, description: &ServiceApiDescription) -> bool {
        self.place == Place::Api && !self.holds_in(&description.extra)
    }

    /// Whether this is about AEF profiles.
    pub(super) fn is_about_profiles(&self) -> bool {
        self.place != Place::Api
    }

    /// Whether this is about AEF profiles and does not hold for this one, which stands at that place of its list.
    pub(super) fn fails_at(&self, index: usize, profile: &AefProfile) -> bool {
        let at = |wanted: Option<usize>, index: usize| wanted.is_none_or(|wanted| wanted == index);
        !match self.place {
            Place::Api => true,
            Place::Profile(wanted) => at(wanted, index) && self.holds_in(&profile.extra),
            Place::Version(wanted, inner) => {
                let mut versions = profile.versions.iter().enumerate();
                at(wanted, index)
                    && versions
                        .any(|(index, version)| at(inner, index) && self.holds_in(&version.extra))
            }
            Place::Interface(wanted, inner) => {
                let mut interfaces = profile.interface_descriptions.iter().flatten().enumerate();
                at(wanted, index)
                    && interfaces.any(|(index, interface)| {
                        at(inner, index) && self.holds_in(&interface.extra)
                    })
            }
        }
    }

    fn holds_in(&self, extra: &Extra) -> bool {
        let Some((first, rest)) = self.steps.split_first() else {
            return false;
        };
        extra
            .get(first)
            .is_some_and(|value| leads(value, rest, &self.value))
    }
}

/// Whether some steps lead from a value to the one that is wanted, or to a list that holds it.
fn leads(value: &Value, steps: &[String], wanted: &Value) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return value == wanted || value.as_array().is_some_and(|items| items.contains(wanted));
    };
    match value {
        Value::Object(members) => members
            .get(step)
            .is_some_and(|value| leads(value, rest, wanted)),
        Value::Array(items) => match step.parse::<usize>() {
            Ok(index) => items
                .get(index)
                .is_some_and(|value| leads(value, rest, wanted)),
            Err(_) => items.iter().any(|value| leads(value, steps, wanted)),
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests;
