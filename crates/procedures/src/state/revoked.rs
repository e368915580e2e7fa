//! Records of revocation: what an invoker is shut out of, and who is still to be told (TS 23.222 clause 8.23).

use std::collections::BTreeSet;

use capif_spec::{
    aef_security::RevokeAuthorizationReq,
    api_invoker_management::OnboardingNotification,
    common::{AefId, ApiInvokerId, DateTime, ServiceApiId, Uri},
    security::SecurityNotification,
};
use serde::{Deserialize, Serialize};

use crate::changes::{Kind, Record};

/// What the operator shut an invoker out of, until it permits it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    /// Everything.
    #[serde(default)]
    pub all: bool,
    /// These APIs.
    #[serde(default)]
    pub apis: BTreeSet<ServiceApiId>,
}

impl Bars {
    /// Whether an API is out of bounds.
    #[must_use]
    pub fn hold(&self, api: &ServiceApiId) -> bool {
        self.all || self.apis.contains(api)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.apis.is_empty()
    }
}

/// A revocation that an AEF is still to acknowledge: removed by its acknowledgement alone (TS 29.222 clause 6.2.2.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revocation {
    /// The AEF.
    pub aef_id: AefId,
    /// Host and port of one of its interfaces.
    pub authority: String,
    /// What is sent.
    pub request: RevokeAuthorizationReq,
    /// When it was decided.
    pub raised: DateTime,
}

impl Revocation {
    /// The beginning of the ids of everything that an AEF is to acknowledge.
    #[must_use]
    pub fn prefix(aef: &str) -> String {
        format!("{aef}/")
    }

    /// The beginning of the ids of what one interface of an AEF is to acknowledge, in order.
    #[must_use]
    pub fn lane(aef: &str, authority: &str) -> String {
        format!("{aef}/{authority}/")
    }
}

impl Record for Revocation {
    const KIND: Kind = Kind::Revocation;
    fn record_id(&self) -> String {
        // Appended: the commit completes this with the sequence.
        Self::lane(self.aef_id.as_str(), &self.authority)
    }
}

/// What an invoker is still to be told: of a revocation at the destination that it gave with its security method request
/// (R-REV-04), of a demand for renewal at the one that it gave when it was onboarded (R-U-02).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Callback {
    /// The invoker.
    pub invoker_id: ApiInvokerId,
    /// Where it wants to hear of it.
    pub destination: Uri,
    /// What is sent.
    pub notification: Tidings,
    /// When it was decided.
    pub raised: DateTime,
}

/// What an invoker is told. Never a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tidings {
    /// Authorization was taken away (TS 29.222 clause 8.5.4.2.5).
    Revocation(SecurityNotification),
    /// A renewal is wanted.
    Renewal(Box<OnboardingNotification>),
}

impl Tidings {
    /// What it is, in a word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Revocation(_) => "SecurityNotification",
            Self::Renewal(_) => "OnboardingNotification",
        }
    }
}

impl Callback {
    /// The beginning of the ids of everything that an invoker is to be told, in order.
    #[must_use]
    pub fn prefix(invoker: &str) -> String {
        format!("{invoker}/")
    }
}

impl Record for Callback {
    const KIND: Kind = Kind::Callback;
    fn record_id(&self) -> String {
        // Appended: the commit completes this with the sequence.
        Self::prefix(self.invoker_id.as_str())
    }
}
