//! What an API invoker keeps between two runs.

use capif_spec::{
    api_invoker_management::ApiInvokerEnrolmentDetails, common::Redacted, security::ServiceSecurity,
};
use serde::{Deserialize, Serialize};

use super::psk::AefPsk;
use crate::{
    error::Error,
    keystore::{Keystore, Locked},
};

/// The name of state and private key in the keystore.
pub(crate) const NAME: &str = "invoker";

/// How far an enrolment has come.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// A request was made out; whether an answer came is not known.
    Pending(Pending),
    /// The CAPIF core function has taken the invoker in.
    Onboarded(Box<Onboarded>),
}

/// What is needed to repeat a request word for word.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pending {
    pub(super) address: String,
    pub(super) certificate_request: String,
}

/// The security onboarding data, and what was negotiated since.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Onboarded {
    pub(super) address: String,
    pub(super) anchors_pem: String,
    /// The id of the resource at the CAPIF core function; most give the invoker's id.
    pub(super) onboarding_id: String,
    /// The Onboard_Secret (TS 33.122 clause 6.1); nowhere else, so that `details` can be shown.
    pub(super) onboarding_secret: Option<Redacted>,
    pub(super) details: ApiInvokerEnrolmentDetails,
    pub(super) security: Option<ServiceSecurity>,
    /// The keys of Method 1 that belong to it.
    #[serde(default)]
    pub(super) keys: Vec<AefPsk>,
    /// How often was negotiated; the number by which processes that share the folder notice each other's negotiations.
    #[serde(default)]
    pub(super) negotiations: u64,
}

impl State {
    pub(super) fn load(keystore: &Keystore) -> Result<Option<Self>, Error> {
        Ok(keystore.load(NAME)?)
    }

    pub(super) fn store(&self, keystore: &Locked) -> Result<(), Error> {
        Ok(keystore.store(NAME, self)?)
    }
}
