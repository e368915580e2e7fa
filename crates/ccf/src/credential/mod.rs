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
    state::{Account, ApiReach},
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
    /// Whether a provider domain that it made may register with it again. Only our own can say so.
    pub is_reusable: bool,
    /// Whether its time has passed: all it opens is the answer to an onboarding that had to wait for the operator.
    pub has_ended: bool,
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
/// [`Refusal::CredentialRefused`] when none recognises it, [`Refusal::CredentialExpired`] when its time has passed.
pub async fn verify(
    verifiers: &[Box<dyn CredentialVerifier>],
    token: &str,
    purpose: Purpose,
    now: &DateTime,
) -> Result<Verified, CredentialError> {
    let verified = recognise(verifiers, token, purpose, now).await?;
    if verified.has_ended {
        return Err(Refusal::CredentialExpired.into());
    }
    Ok(verified)
}

/// The same for a credential whose time may have passed, which is then said of it.
///
/// # Errors
/// As [`verify`] otherwise.
pub async fn recognise(
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
    /// Whether the operator approves its holder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
    /// The id of the account whose holder fetched it; its name is `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whether the provider domain that it makes may register with it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reusable: bool,
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

    /// Signs an onboarding credential. `approval` says whether the operator approves its holder.
    ///
    /// # Errors
    /// When signing fails.
    pub fn onboarding(
        &self,
        reach: ApiReach,
        approval: bool,
        life_seconds: i64,
        now: &DateTime,
    ) -> Result<Redacted, IssueError> {
        let audience = Audience::One(audience(&self.name, Purpose::Onboarding));
        let claims = Claims {
            apis: reach.api_names,
            domain: reach.domain,
            approval,
            ..self.claims(audience, life_seconds, now)?
        };
        Ok(self.key.sign(Purpose::Onboarding.typ(), &claims)?)
    }

    /// Signs a registration credential for a provider domain of this name. `reusable` says whether the domain may register with it
    /// again.
    ///
    /// # Errors
    /// When signing fails.
    pub fn registration(
        &self,
        name: &str,
        reusable: bool,
        life_seconds: i64,
        now: &DateTime,
    ) -> Result<Redacted, IssueError> {
        let audience = Audience::One(audience(&self.name, Purpose::Registration));
        let claims = Claims {
            name: Some(name.to_owned()),
            reusable,
            ..self.claims(audience, life_seconds, now)?
        };
        Ok(self.key.sign(Purpose::Registration.typ(), &claims)?)
    }

    /// Signs what the holder of an account enrols with, once, be it an invoker or a provider domain.
    ///
    /// # Errors
    /// When signing fails.
    pub fn of_account(
        &self,
        account: &Account,
        life_seconds: i64,
        now: &DateTime,
    ) -> Result<Redacted, IssueError> {
        let either = [Purpose::Onboarding, Purpose::Registration];
        let audience = either.map(|purpose| audience(&self.name, purpose));
        let claims = Claims {
            name: Some(account.name.clone()),
            account: Some(account.uuid.clone()),
            ..self.claims(Audience::Several(audience.to_vec()), life_seconds, now)?
        };
        Ok(self.key.sign("capif-enrolment+jwt", &claims)?)
    }

    /// Claims that open everything for this audience.
    fn claims(
        &self,
        aud: Audience,
        life_seconds: i64,
        now: &DateTime,
    ) -> Result<Claims, IssueError> {
        let issued = now.0.unix_timestamp();
        Ok(Claims {
            iss: self.name.clone(),
            aud,
            exp: issued.saturating_add(life_seconds),
            nbf: None,
            iat: Some(issued),
            jti: random::id("")?,
            apis: None,
            domain: None,
            name: None,
            approval: false,
            account: None,
            reusable: false,
        })
    }
}

/// The `aud` of our own credentials: this CCF and the one purpose.
fn audience(issuer: &str, purpose: Purpose) -> String {
    match purpose {
        Purpose::Onboarding => format!("{issuer}#onboarding"),
        Purpose::Registration => format!("{issuer}#registration"),
    }
}

/// Who vouches for the holder of an account: the account by its name, and by its id, since another one may have the name later.
#[must_use]
pub fn of_account(account: &Account) -> String {
    format!("account {} ({})", account.name, account.uuid)
}

/// What stands for the id of an account in what was enrolled at earlier versions, which wrote down its name alone.
pub const UNKNOWN_ACCOUNT: &str = "unknown";

/// Name and id of the account whose holder is vouched for in these words.
#[must_use]
pub fn account_of(issuer: &str) -> Option<(&str, &str)> {
    let words = issuer.strip_prefix("account ")?;
    let both = words
        .strip_suffix(')')
        .and_then(|words| words.split_once(" ("));
    Some(both.unwrap_or((words, UNKNOWN_ACCOUNT)))
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
    let key = Key::new(Kind::CredentialUse, credential.single_use.to_string());
    Ok(store.get(&key).await?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came by an account is known as such, also where an earlier version wrote it down.
    #[test]
    fn accounts_are_read_out_of_who_vouches() {
        let account = Account {
            name: "ada".to_owned(),
            uuid: "7-1".to_owned(),
            password: String::new(),
            is_administrator: false,
            profile: Default::default(),
            created: DateTime(time::OffsetDateTime::UNIX_EPOCH),
        };
        assert_eq!(account_of(&of_account(&account)), Some(("ada", "7-1")));
        assert_eq!(account_of("account ada"), Some(("ada", UNKNOWN_ACCOUNT)));
        assert_eq!(account_of("https://ccf.example"), None);
    }
}
