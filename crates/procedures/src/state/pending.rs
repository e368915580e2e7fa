//! What waits for the operator: an onboarding, or an update that asks for more (TS 29.222 clause 5.5.2.2.2, TS 23.222 clause 8.1).

use capif_spec::{
    api_invoker_management::{ApiInvokerEnrolmentDetails, ApiInvokerEnrolmentDetailsPatch},
    common::{ApiInvokerId, DateTime},
};
use serde::{Deserialize, Serialize};

use super::{ApiReach, Digest, PublicKey};
use crate::changes::{Kind, Record};

/// A request that the operator is to decide on. Never a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingEnrolment {
    /// The id of the invoker, or the one that it is to have.
    pub id: ApiInvokerId,
    /// What is asked for.
    pub wish: PendingWish,
    /// Since when it waits.
    pub asked: DateTime,
    /// Until when it waits; what was rejected is remembered until then.
    pub expires: DateTime,
    /// That it was rejected. It stays for who asks again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejection>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PendingWish {
    /// To be onboarded.
    Onboarding(Box<PendingOnboarding>),
    /// To have the profile replaced.
    Replacement(Box<ApiInvokerEnrolmentDetails>),
    /// To have the profile changed.
    Modification(Box<ApiInvokerEnrolmentDetailsPatch>),
}

/// An onboarding whose credential and key were found good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingOnboarding {
    /// The request.
    pub details: ApiInvokerEnrolmentDetails,
    /// The key to certify.
    pub public_key: PublicKey,
    /// Who vouches for the holder of the credential.
    pub issuer: String,
    /// The mark of use of the credential.
    pub credential: Digest,
    /// When the credential ends.
    pub credential_expires: DateTime,
    /// What the credential allows.
    pub reach: ApiReach,
}

/// The operator said no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// When.
    pub at: DateTime,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl PendingEnrolment {
    /// The mark of use of the credential that an onboarding came with.
    #[must_use]
    pub fn credential(&self) -> Option<&Digest> {
        match &self.wish {
            PendingWish::Onboarding(onboarding) => Some(&onboarding.credential),
            PendingWish::Replacement(_) | PendingWish::Modification(_) => None,
        }
    }
}

impl Record for PendingEnrolment {
    const KIND: Kind = Kind::PendingEnrolment;
    fn record_id(&self) -> String {
        self.id.to_string()
    }
}
