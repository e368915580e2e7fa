//! What an API invoker keeps between two runs.

use capif_spec::{
    api_invoker_management::ApiInvokerEnrolmentDetails,
    common::{DateTime, Redacted},
    renewal::RenewalDemand,
    security::ServiceSecurity,
};
use serde::{Deserialize, Serialize};

use super::psk::AefPsk;
use crate::{
    address::Address,
    error::Error,
    keystore::{Keystore, Locked},
    whereabouts::remember,
};

/// The name of the state in the keystore, and of the private key that an enrolment begins with.
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
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pending {
    pub(super) address: String,
    pub(super) certificate_request: String,
    /// By what the CAPIF core function knows a repetition.
    #[serde(default)]
    pub(super) attempt: Option<Redacted>,
}

/// The security onboarding data, and what was negotiated since.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Onboarded {
    pub(super) address: String,
    /// Where the core function was before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) former_addresses: Vec<String>,
    pub(super) anchors_pem: String,
    /// Keys of authorities that are not believed, as [`capif_spec::renewal::Trust`] has them.
    #[serde(default)]
    pub(super) distrusted: Vec<String>,
    /// The id of the resource at the CAPIF core function; most give the invoker's id.
    pub(super) onboarding_id: String,
    /// The name of the private key in use.
    #[serde(default = "first_key")]
    pub(super) key: String,
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
    /// Under which certificate the keys were negotiated, in the number of renewals before.
    #[serde(default)]
    pub(super) keys_under: u64,
    /// How often anything else changed that a process must know of.
    #[serde(default)]
    pub(super) revision: u64,
    /// How often certificate and secret were replaced. It only grows, so that it can name keys.
    #[serde(default)]
    pub(super) renewals: u64,
    #[serde(default)]
    pub(super) renewal: Record,
}

/// How it stands with renewal.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record {
    /// Whether the CAPIF core function has agreed to renew without offboarding.
    pub(super) agreed: bool,
    /// Whether it says by itself how it stands.
    pub(super) told: bool,
    /// When it was last asked.
    pub(super) looked: Option<DateTime>,
    pub(super) secret_expires: Option<DateTime>,
    pub(super) renew_after: Option<DateTime>,
    pub(super) demand: Option<RenewalDemand>,
    /// A renewal that was asked for; whether an answer came is not known.
    pub(super) pending: Option<Asked>,
    /// What was in use before, until the CAPIF core function has seen what is in use now.
    pub(super) former: Option<Former>,
}

/// What is needed to repeat a renewal word for word.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    pub(super) id: String,
    /// The name of the private key.
    pub(super) key: String,
    pub(super) certificate_request: String,
    pub(super) expires: Option<DateTime>,
}

/// Material that was replaced.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Former {
    pub(super) key: String,
    pub(super) details: ApiInvokerEnrolmentDetails,
    pub(super) onboarding_secret: Option<Redacted>,
    pub(super) secret_expires: Option<DateTime>,
}

impl State {
    pub(super) fn load(keystore: &Keystore) -> Result<Option<Self>, Error> {
        Ok(keystore.load(NAME)?)
    }

    pub(super) fn store(&self, keystore: &Locked) -> Result<(), Error> {
        Ok(keystore.store(NAME, self)?)
    }
}

impl Onboarded {
    /// Whether the core function is reached by this address, or was.
    pub(super) fn is_at(&self, address: &Address) -> bool {
        let mut all = std::iter::once(&self.address).chain(&self.former_addresses);
        all.any(|known| known == address.as_str())
    }

    /// The core function is elsewhere for good.
    pub(super) fn move_to(&mut self, address: &Address) {
        remember(&mut self.address, &mut self.former_addresses, address);
    }

    /// The private keys that something still needs.
    fn keys_needed(&self) -> impl Iterator<Item = &str> {
        let pending = self.renewal.pending.iter().map(|asked| &asked.key);
        let former = self.renewal.former.iter().map(|former| &former.key);
        std::iter::once(&self.key)
            .chain(pending)
            .chain(former)
            .map(String::as_str)
    }

    /// The private keys in the folder that nothing needs: a crash, or a renewal, has left them.
    pub(super) fn keys_left(&self, keystore: &Keystore) -> Result<Vec<String>, Error> {
        let mut left = keystore.keys()?;
        left.retain(|name| is_ours(name) && self.keys_needed().all(|needed| needed != name));
        Ok(left)
    }

    /// Erases them.
    pub(super) fn clear_keys(&self, keystore: &Locked) -> Result<(), Error> {
        for name in self.keys_left(keystore)? {
            keystore.erase_key(&name)?;
        }
        Ok(())
    }

    /// The name of the next new key. It is in use nowhere.
    pub(super) fn next_key(&self) -> String {
        format!("{NAME}-{}", self.renewals.saturating_add(1))
    }
}

fn is_ours(key: &str) -> bool {
    let number = key.strip_prefix(NAME).map(|rest| rest.strip_prefix('-'));
    match number {
        Some(Some(digits)) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        Some(None) => key == NAME,
        None => false,
    }
}

fn first_key() -> String {
    NAME.to_owned()
}
