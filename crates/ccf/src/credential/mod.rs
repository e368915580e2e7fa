//! Onboarding and registration credentials: how they are made out and how they are judged (TS 33.122 clause 6.1).
//!
//! A credential is judged by a chain of [`CredentialVerifier`]s. The first that recognises it decides; if none does, it is
//! refused in the same words as a bad signature, so that nobody learns which issuers are known (R-6.1-16).

pub mod handed_over;
pub mod issuers;

use std::{collections::BTreeSet, future::Future, pin::Pin};

use capif_procedures::{
    changes::{Key, Kind},
    onboarding::Credential,
    refusal::Refusal,
    state::ApiReach,
};
use capif_spec::common::{ApiProviderDomainId, DateTime, Redacted};
use serde::{Deserialize, Serialize};

use crate::{
    authority::{AuthorityError, tokens::SigningKey},
    random::{self, NoRandomness},
    store::{Fault, Store},
};

/// What a credential is for; one made for the one never serves for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An API invoker onboards.
    Onboarding,
    /// An API provider domain registers.
    Registration,
}

impl Purpose {
    /// The `typ` of our own credentials.
    fn typ(self) -> &'static str {
        match self {
            Self::Onboarding => "capif-onboarding+jwt",
            Self::Registration => "capif-registration+jwt",
        }
    }
}

/// A credential that was found good.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What procedures know of it.
    pub credential: Credential,
    /// The name under which it admits a provider domain.
    pub name: Option<String>,
    /// Whether it is already known to be used up: all it opens is the answer that it was used for (P-08).
    pub is_used: bool,
}

/// Why no credential was accepted.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A rule said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The answer of a verifier: `None` when the credential is not of its kind.
pub type Verdict<'a> =
    Pin<Box<dyn Future<Output = Result<Option<Verified>, CredentialError>> + Send + 'a>>;

/// A way to judge credentials (R-6.1-07). Single use is not its business.
pub trait CredentialVerifier: Send + Sync + 'static {
    /// Judges a credential.
    fn verify<'a>(&'a self, token: &'a str, purpose: Purpose, now: DateTime) -> Verdict<'a>;
}

/// Judges a credential by each verifier in turn.
///
/// # Errors
/// [`Refusal::CredentialRefused`] when none recognises it.
pub async fn verify(
    verifiers: &[Box<dyn CredentialVerifier>],
    token: &str,
    purpose: Purpose,
    now: &DateTime,
) -> Result<Verified, CredentialError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::CredentialRefused.into());
    }
    for verifier in verifiers {
        if let Some(verified) = verifier.verify(token, purpose, now.clone()).await? {
            return Ok(verified);
        }
    }
    Err(Refusal::CredentialRefused.into())
}

/// The longest credential that is looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The claims of a credential (RFC 7519 section 4.1). `exp`, `iss`, `aud` and `jti` must be there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Who vouches.
    pub iss: String,
    /// For whom it is.
    pub aud: Audience,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// When it was made out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Its own name, by which it serves once.
    pub jti: String,
    /// The APIs that it opens; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apis: Option<BTreeSet<String>>,
    /// The provider domain whose APIs it opens; all domains if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<ApiProviderDomainId>,
    /// The name of the provider domain that it admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `aud`: one text or several (RFC 7519 section 4.1.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Several(several) => several.iter().any(|one| one == wanted),
        }
    }
}

/// Makes out credentials of this CCF.
#[derive(Debug)]
pub struct Issuer {
    key: SigningKey,
    name: String,
}

/// A credential could not be made out.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Signing failed.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl Issuer {
    /// An issuer with this key for the CCF of this id.
    #[must_use]
    pub fn new(key: SigningKey, ccf_id: &str) -> Self {
        Self {
            key,
            name: format!("urn:capif:{ccf_id}"),
        }
    }

    /// The `iss` of its credentials.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that verifies its credentials.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs an onboarding credential.
    ///
    /// # Errors
    /// When signing fails.
    pub fn onboarding(
        &self,
        reach: ApiReach,
        life_seconds: i64,
        now: &DateTime,
    ) -> Result<Redacted, IssueError> {
        self.issue(Purpose::Onboarding, reach, None, life_seconds, now)
    }

    /// Signs a registration credential for a provider domain of this name.
    ///
    /// # Errors
    /// When signing fails.
    pub fn registration(
        &self,
        name: &str,
        life_seconds: i64,
        now: &DateTime,
    ) -> Result<Redacted, IssueError> {
        let name = Some(name.to_owned());
        let reach = ApiReach::default();
        self.issue(Purpose::Registration, reach, name, life_seconds, now)
    }

    fn issue(
        &self,
        purpose: Purpose,
        reach: ApiReach,
        name: Option<String>,
        life_seconds: i64,
        now: &DateTime,
    ) -> Result<Redacted, IssueError> {
        let issued = now.0.unix_timestamp();
        let claims = Claims {
            iss: self.name.clone(),
            aud: Audience::One(audience(&self.name, purpose)),
            exp: issued.saturating_add(life_seconds),
            nbf: None,
            iat: Some(issued),
            jti: random::id("")?,
            apis: reach.api_names,
            domain: reach.domain,
            name,
        };
        Ok(self.key.sign(purpose.typ(), &claims)?)
    }
}

/// The `aud` of our own credentials: this CCF and the one purpose.
fn audience(issuer: &str, purpose: Purpose) -> String {
    match purpose {
        Purpose::Onboarding => format!("{issuer}#onboarding"),
        Purpose::Registration => format!("{issuer}#registration"),
    }
}

/// What a credential reaches: what it says, within what its issuer may give.
fn reach(
    domain: Option<ApiProviderDomainId>,
    claimed: Option<BTreeSet<String>>,
    bound: Option<&BTreeSet<String>>,
) -> ApiReach {
    let api_names = match (claimed, bound) {
        (Some(claimed), Some(bound)) => Some(claimed.intersection(bound).cloned().collect()),
        (claimed, bound) => claimed.or_else(|| bound.cloned()),
    };
    ApiReach { domain, api_names }
}

/// Whether a credential was used before.
///
/// # Errors
/// When the store fails.
pub async fn is_used(store: &dyn Store, credential: &Credential) -> Result<bool, Fault> {
    let key = Key::new(Kind::CredentialUse, credential.single_use.as_str());
    Ok(store.get(&key).await?.is_some())
}
