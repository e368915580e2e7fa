//! Records of discovery: what the operator shows and hides (TS 23.222 annex E).

use capif_spec::common::{ApiInvokerId, ServiceApiId};
use serde::{Deserialize, Serialize};

use crate::changes::{Kind, Record};

/// Whether somebody is shown some APIs. There is one for each pair of audience and scope, so that two never contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryPolicy {
    /// Who looks.
    pub audience: Audience,
    /// At what.
    pub scope: Scope,
    /// Whether it is shown; hidden otherwise.
    pub shows: bool,
}

impl DiscoveryPolicy {
    /// The beginning of the ids of the policies of one audience.
    #[must_use]
    pub fn prefix(audience: &Audience) -> String {
        format!("{}/", audience.as_str())
    }

    /// The id of the policy of an audience for a scope.
    #[must_use]
    pub fn id(audience: &Audience, scope: &Scope) -> String {
        let (kind, value) = scope.parts();
        format!("{}{kind}{value}", Self::prefix(audience))
    }
}

impl Record for DiscoveryPolicy {
    const KIND: Kind = Kind::DiscoveryPolicy;
    fn record_id(&self) -> String {
        Self::id(&self.audience, &self.scope)
    }
}

/// Who looks for APIs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Audience {
    /// Every invoker.
    Everyone,
    /// One invoker.
    Invoker(ApiInvokerId),
    /// Whoever asks before onboarding, and is shown nothing but what is named.
    Anyone,
}

impl Audience {
    /// The word for it within ids. No invoker's id is one of the others: those that are given begin with capital letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Everyone => "*",
            Self::Invoker(id) => id.as_str(),
            Self::Anyone => "anyone",
        }
    }
}

/// Which APIs are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// The one with this id.
    Id(ServiceApiId),
    /// Those of this name, of whichever provider.
    Name(String),
    /// Those of this category.
    Category(String),
    /// All.
    All,
}

impl Scope {
    /// How it is told from others within ids: its kind and its value.
    #[must_use]
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Id(id) => ("id:", id.as_str()),
            Self::Name(name) => ("name:", name),
            Self::Category(category) => ("category:", category),
            Self::All => ("all", ""),
        }
    }
}
