//! Records of revocation: what an invoker is shut out of, and who is still to be told (TS 23.222 clause 8.23).

use std::collections::BTreeSet;

use capif_spec::{
    aef_security::RevokeAuthorizationReq,
    api_invoker_management::OnboardingNotification,
    common::{AefId, ApiInvokerId, DateTime, ServiceApiId, TestNotification, Uri},
    security::SecurityNotification,
};
use serde::{Deserialize, Serialize};

use super::SealedKey;
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

/// What an invoker is told. Never a secret, unless sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tidings {
    /// Authorization was taken away (TS 29.222 clause 8.5.4.2.5).
    Revocation(SecurityNotification),
    /// A renewal is wanted, or an enrolment was rejected.
    Onboarding(Box<OnboardingNotification>),
    /// An enrolment was approved: an `OnboardingNotification` in which certificate and Onboard_Secret are.
    Sealed {
        /// The notification as JSON, sealed for [`Callback::purpose`].
        sealed: SealedKey,
    },
    /// The way to the invoker is tested (TS 29.122 clause 5.2.5.3).
    Test(TestNotification),
}

impl Tidings {
    /// What it is, in a word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Revocation(_) => "SecurityNotification",
            Self::Onboarding(_) | Self::Sealed { .. } => "OnboardingNotification",
            Self::Test(_) => "TestNotification",
        }
    }
}

impl Callback {
    /// The beginning of the ids of everything that an invoker is to be told, in order.
    #[must_use]
    pub fn prefix(invoker: &str) -> String {
        format!("{invoker}/")
    }

    /// The beginning of the ids of what stands in one line with this: what is posted, or what one WebSocket brings.
    #[must_use]
    pub fn lane(&self) -> String {
        Self::lane_to(&self.invoker_id, &self.destination)
    }

    /// The same, of whatever goes to an invoker at a destination.
    #[must_use]
    pub fn lane_to(invoker: &ApiInvokerId, destination: &Uri) -> String {
        match destination.as_str().strip_prefix("wss://") {
            None => Self::prefix(invoker.as_str()),
            Some(rest) => {
                let resource = rest.rsplit('/').next().unwrap_or_default();
                format!("{invoker}/ws/{resource}/")
            }
        }
    }

    /// What a notification is sealed for: this invoker at this destination, and nothing else.
    #[must_use]
    pub fn purpose(invoker: &ApiInvokerId, destination: &Uri) -> String {
        format!("OnboardingNotification for {invoker} at {destination}")
    }
}

impl Record for Callback {
    const KIND: Kind = Kind::Callback;
    fn record_id(&self) -> String {
        // Appended: the commit completes this with the sequence.
        self.lane()
    }
}
