//! The scope of an access token.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    str::FromStr,
};

use crate::common::AefId;

/// How long a scope may be, in octets.
pub const SCOPE_BYTES_MAX: usize = 8 * 1024;

const PREFIX: &str = "3gpp#";

/// Which APIs at which AEFs a token opens (TS 29.222 clause 8.5.4.2.6).
///
/// Printed as `3gpp#aef1:api1,api2;aef2:api1`. Read with or without the prefix and with blanks after `;`, since TS 33.122
/// clause C.2.2 shows that form. API names may hold blanks, slashes and colons, so each group is split at its first colon,
/// and the whole text is one scope: what TS 29.222 lets follow after a blank cannot be told from a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The names of the APIs at each AEF, in the order of the text, each AEF and each of its APIs once.
    pub grants: Vec<(AefId, Vec<String>)>,
}

impl Scope {
    /// Whether the scope opens an API at an AEF.
    #[must_use]
    pub fn contains(&self, aef_id: &AefId, api_name: &str) -> bool {
        self.grants
            .iter()
            .any(|(aef, names)| aef == aef_id && names.iter().any(|name| name == api_name))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = PREFIX;
        for (aef, names) in self.grants.iter().filter(|(_, names)| !names.is_empty()) {
            write!(f, "{separator}{aef}:{}", names.join(","))?;
            separator = ";";
        }
        Ok(())
    }
}

/// Why a text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It is longer than [`SCOPE_BYTES_MAX`].
    #[error("a scope holds at most {SCOPE_BYTES_MAX} octets")]
    TooLong,
    /// It holds a control character.
    #[error("a scope holds no control characters")]
    ControlCharacter,
    /// A group has no colon.
    #[error("group {0} has no colon between AEF and APIs: write `3gpp#aef:api,api;aef:api`")]
    NoColon(usize),
    /// A group is empty, or names no AEF, or has an API without a name.
    #[error("group {0} has an empty part: write `3gpp#aef:api,api;aef:api`")]
    EmptyPart(usize),
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text.len() > SCOPE_BYTES_MAX {
            return Err(ScopeError::TooLong);
        }
        if text.contains(char::is_control) {
            return Err(ScopeError::ControlCharacter);
        }
        let groups = text.strip_prefix(PREFIX).unwrap_or(text);
        let mut grants: Vec<(AefId, Vec<String>)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut seen: HashSet<(&str, &str)> = HashSet::new();
        for (index, group) in groups.split(';').enumerate() {
            let number = index.saturating_add(1);
            let group = group.trim_start_matches(' ');
            if group.is_empty() {
                return Err(ScopeError::EmptyPart(number));
            }
            let (aef, names) = group.split_once(':').ok_or(ScopeError::NoColon(number))?;
            let place = *places.entry(aef).or_insert_with(|| {
                grants.push((AefId::from(aef), Vec::new()));
                grants.len().saturating_sub(1)
            });
            for name in names.split(',') {
                if aef.trim().is_empty() || name.trim().is_empty() {
                    return Err(ScopeError::EmptyPart(number));
                }
                if let Some((_, names)) = grants.get_mut(place)
                    && seen.insert((aef, name))
                {
                    names.push(name.to_owned());
                }
            }
        }
        Ok(Self { grants })
    }
}

#[cfg(test)]
mod tests;
