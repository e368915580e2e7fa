//! Credentials that are JSON Web Tokens, by the keys of their issuers (D-25, RFC 7519, RFC 7515, RFC 8725).
//!
//! The algorithm comes from the key, never from the token; keys come from the registry, never from the token; claims are
//! typed, and a repeated member name is refused before anything is believed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use capif_procedures::{onboarding::Credential, refusal::Refusal, state::Account};
use capif_spec::{common::DateTime, json};
use capif_transport::{Anchors, Client, ClientLimits, ClientTls, SharedClock, collect, empty};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, JwkSet, KeyAlgorithm},
};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{
    Claims, CredentialError, CredentialVerifier, Purpose, Verdict, Verified, audience, of_account,
    reach,
};
use crate::{
    authority::{AuthorityError, tokens::jws},
    config::IssuerSection,
    random::sha256,
    store::{self, Fault, Store},
};

/// How far the clocks of issuer and CCF may be apart, in seconds (R-C-05).
const SKEW_SECONDS: i64 = 30;

/// How long fetched keys are used, in seconds.
const KEYS_SECONDS: i64 = 600;

/// The shortest pause between two fetches, in seconds, however many unknown keys are named.
const FETCH_PAUSE_SECONDS: i64 = 30;

/// The largest JWKS, in bytes.
const JWKS_BYTES_MAX: usize = 256 * 1024;

/// One issuer of credentials.
struct KnownIssuer {
    issuer: String,
    /// `None`: our own, whose audience depends on the purpose.
    audience: Option<String>,
    apis: Option<BTreeSet<String>>,
    keys: Keys,
}

enum Keys {
    Fixed(Arc<Vec<Key>>),
    Fetched(Box<Fetched>),
}

struct Fetched {
    url: String,
    client: Client,
    state: Mutex<FetchState>,
    gate: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct FetchState {
    keys: Arc<Vec<Key>>,
    fetched: OffsetDateTime,
    attempted: OffsetDateTime,
}

struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The registry of issuers.
pub struct Issuers {
    issuers: Vec<KnownIssuer>,
    decoy: Arc<Vec<Key>>,
    /// Where the accounts are.
    store: Arc<dyn Store>,
}

impl Issuers {
    /// A registry with this CCF itself as the first issuer.
    ///
    /// # Errors
    /// When the keys of a configured issuer cannot be used.
    pub fn new(
        own: &super::Issuer,
        others: &[IssuerSection],
        clock: &SharedClock,
        store: Arc<dyn Store>,
    ) -> Result<Self, AuthorityError> {
        let own_keys = Arc::new(vec![Key {
            kid: Some(own.key().kid().to_owned()),
            algorithm: Algorithm::ES256,
            key: own.key().decoding_key()?,
        }]);
        let mut issuers = vec![KnownIssuer {
            issuer: own.name().to_owned(),
            audience: None,
            apis: None,
            keys: Keys::Fixed(Arc::clone(&own_keys)),
        }];
        for section in others {
            issuers.push(KnownIssuer {
                issuer: section.issuer.clone(),
                audience: Some(section.audience.clone()),
                apis: section
                    .apis
                    .as_ref()
                    .map(|apis| apis.iter().cloned().collect()),
                keys: keys_of(section, clock)?,
            });
        }
        Ok(Self {
            issuers,
            decoy: own_keys,
            store,
        })
    }

    async fn judge(
        &self,
        token: &str,
        purpose: Purpose,
        now: DateTime,
    ) -> Result<Option<Verified>, CredentialError> {
        let Some(parts) = Parts::split(token) else {
            return Ok(None);
        };
        let issuer = self.issuers.iter().find(|known| {
            known.issuer == parts.claims.iss
                && (known.audience.is_none() || purpose == Purpose::Onboarding)
        });
        let keys = match issuer {
            Some(issuer) => issuer.keys(parts.header.kid.as_deref(), now.0).await,
            // Who tries issuers waits as long as who forges signatures.
            None => Arc::clone(&self.decoy),
        };
        let good = keys
            .iter()
            .filter(|key| {
                parts.header.kid.is_none() || issuer.is_none() || key.kid == parts.header.kid
            })
            .take(4)
            .any(|key| parts.verifies(key));
        let Some(issuer) = issuer.filter(|_| good) else {
            return Err(Refusal::CredentialRefused.into());
        };
        let claims = parts.claims;
        let expected = match &issuer.audience {
            Some(expected) => expected.clone(),
            None => audience(&issuer.issuer, purpose),
        };
        if !claims.aud.names(&expected) || claims.jti.is_empty() || claims.jti.len() > 256 {
            return Err(Refusal::CredentialRefused.into());
        }
        let seconds = now.0.unix_timestamp();
        let begins = claims.nbf.into_iter().chain(claims.iat).max();
        if begins.is_some_and(|begins| begins > seconds.saturating_add(SKEW_SECONDS)) {
            return Err(Refusal::CredentialExpired.into());
        }
        let has_ended = claims.exp.saturating_add(SKEW_SECONDS) <= seconds;
        let ends = claims.exp.saturating_add(SKEW_SECONDS.saturating_mul(2));
        // A time out of all range lies before or behind every other.
        let out_of_range = |_| {
            if has_ended {
                Refusal::CredentialExpired
            } else {
                Refusal::CredentialRefused
            }
        };
        let expires = OffsetDateTime::from_unix_timestamp(ends).map_err(out_of_range)?;
        let single_use = sha256(format!("{}\0{}", claims.iss, claims.jti).as_bytes());
        // Only our own credentials speak of accounts of ours, and may be used more than once.
        let is_own = issuer.audience.is_none();
        let account = match claims.account.filter(|_| is_own) {
            None => None,
            Some(id) => {
                let name = claims.name.as_deref().unwrap_or_default();
                let account = self.account(name, &id).await?;
                Some(account.ok_or(Refusal::CredentialRefused)?)
            }
        };
        Ok(Some(Verified {
            credential: Credential {
                single_use,
                issuer: account.map_or(claims.iss, |account| of_account(&account)),
                expires: DateTime(expires),
                reach: reach(claims.domain, claims.apis, issuer.apis.as_ref()),
                registered: None,
                approval: claims.approval,
            },
            name: claims.name,
            is_used: false,
            is_reusable: is_own && claims.reusable && purpose == Purpose::Registration,
            has_ended,
        }))
    }
}

impl Issuers {
    /// The account that was given a credential, if it is still there, and not another one that took its name since.
    async fn account(&self, name: &str, id: &str) -> Result<Option<Account>, Fault> {
        let held = store::load::<Account>(self.store.as_ref(), name).await?;
        Ok(held.map(|held| held.record).filter(|held| held.uuid == id))
    }
}

impl CredentialVerifier for Issuers {
    fn verify<'a>(&'a self, token: &'a str, purpose: Purpose, now: DateTime) -> Verdict<'a> {
        Box::pin(async move { self.judge(token, purpose, now).await })
    }
}

/// The header members that count. `crit` stands for extensions that must be understood, of which there are none here
/// (RFC 7515 section 4.1.11); keys that come along in `jwk`, `jku`, `x5c` or `x5u` are not looked at.
#[derive(Deserialize)]
struct JoseHeader {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

struct Parts<'a> {
    token: &'a str,
    header: JoseHeader,
    claims: Claims,
}

impl<'a> Parts<'a> {
    /// Takes a compact JWS apart; `None` when it is none, or none that could be a credential.
    fn split(token: &'a str) -> Option<Self> {
        let (header, claims): (JoseHeader, Claims) = jws::parts(token)?;
        header.crit.is_none().then_some(Self {
            token,
            header,
            claims,
        })
    }

    fn verifies(&self, key: &Key) -> bool {
        if self.header.alg != name(key.algorithm) {
            return false;
        }
        let mut validation = Validation::new(key.algorithm);
        // Time, audience and issuer are judged above, by the CCF's own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode::<Claims>(self.token, &key.key, &validation).is_ok()
    }
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::EdDSA => "EdDSA",
        Algorithm::PS256 => "PS256",
        Algorithm::PS384 => "PS384",
        Algorithm::PS512 => "PS512",
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        _ => "none of ours",
    }
}

impl KnownIssuer {
    async fn keys(&self, kid: Option<&str>, now: OffsetDateTime) -> Arc<Vec<Key>> {
        match &self.keys {
            Keys::Fixed(keys) => Arc::clone(keys),
            Keys::Fetched(fetched) => fetched.keys(kid, now).await,
        }
    }
}

impl Fetched {
    /// The keys: those at hand while they are fresh and hold the one named, fetched anew otherwise.
    async fn keys(&self, kid: Option<&str>, now: OffsetDateTime) -> Arc<Vec<Key>> {
        if let Some(keys) = self.at_hand(kid, now) {
            return keys;
        }
        let _one_at_a_time = self.gate.lock().await;
        if let Some(keys) = self.at_hand(kid, now) {
            return keys;
        }
        self.change(|state| state.attempted = now);
        match self.fetch().await {
            Ok(keys) => self.change(|state| {
                state.keys = Arc::new(keys);
                state.fetched = now;
            }),
            Err(reason) => tracing::warn!(url = self.url, reason, "keys of an issuer not fetched"),
        }
        self.state().keys
    }

    fn at_hand(&self, kid: Option<&str>, now: OffsetDateTime) -> Option<Arc<Vec<Key>>> {
        let state = self.state();
        let held =
            kid.is_none_or(|kid| state.keys.iter().any(|key| key.kid.as_deref() == Some(kid)));
        let fresh = (now - state.fetched).whole_seconds() < KEYS_SECONDS;
        let tried = (now - state.attempted).whole_seconds() < FETCH_PAUSE_SECONDS;
        ((held && fresh) || tried).then_some(state.keys)
    }

    fn state(&self) -> FetchState {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut FetchState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let request = http::Request::get(&self.url)
            .body(empty())
            .map_err(|error| error.to_string())?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("answered {}", response.status()));
        }
        let limit = std::time::Duration::from_secs(10);
        let body = collect(response.into_body(), JWKS_BYTES_MAX, limit)
            .await
            .map_err(|error| error.to_string())?;
        parse(&body)
    }
}

fn keys_of(section: &IssuerSection, clock: &SharedClock) -> Result<Keys, AuthorityError> {
    let unusable =
        |reason: String| AuthorityError::Material(format!("issuer {}: {reason}", section.issuer));
    if let Some(file) = &section.jwks_file {
        let text = std::fs::read(file).map_err(|source| AuthorityError::File {
            file: file.display().to_string(),
            source,
        })?;
        return Ok(Keys::Fixed(Arc::new(parse(&text).map_err(unusable)?)));
    }
    let anchors = match &section.ca_file {
        None => Anchors::native(),
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|source| AuthorityError::File {
                file: file.display().to_string(),
                source,
            })?;
            Anchors::from_pem(&text)
        }
    }
    .map_err(|error| unusable(error.to_string()))?;
    let tls = ClientTls {
        anchors: Some(anchors),
        identity: None,
        clock: Arc::clone(clock),
        session: None,
        tls12_only: false,
    };
    let client =
        Client::new(tls, ClientLimits::default()).map_err(|error| unusable(error.to_string()))?;
    Ok(Keys::Fetched(Box::new(Fetched {
        url: section.jwks_url.clone().unwrap_or_default(),
        client,
        state: Mutex::new(FetchState {
            keys: Arc::new(Vec::new()),
            fetched: OffsetDateTime::UNIX_EPOCH,
            attempted: OffsetDateTime::UNIX_EPOCH,
        }),
        gate: tokio::sync::Mutex::new(()),
    })))
}

/// The signature keys of a JWKS: ES256, ES384, EdDSA and RSA; keys without `alg` get the one of their kind.
fn parse(text: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet = json::from_slice(text).map_err(|error| error.to_string())?;
    let keys: Vec<Key> = set
        .keys
        .iter()
        .filter_map(|jwk| {
            let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
                (AlgorithmParameters::EllipticCurve(key), alg) => match (&key.curve, alg) {
                    (EllipticCurve::P256, None | Some(KeyAlgorithm::ES256)) => Algorithm::ES256,
                    (EllipticCurve::P384, None | Some(KeyAlgorithm::ES384)) => Algorithm::ES384,
                    _ => return None,
                },
                (AlgorithmParameters::OctetKeyPair(_), None | Some(KeyAlgorithm::EdDSA)) => {
                    Algorithm::EdDSA
                }
                (AlgorithmParameters::RSA(_), alg) => match alg {
                    None | Some(KeyAlgorithm::RS256) => Algorithm::RS256,
                    Some(KeyAlgorithm::RS384) => Algorithm::RS384,
                    Some(KeyAlgorithm::RS512) => Algorithm::RS512,
                    Some(KeyAlgorithm::PS256) => Algorithm::PS256,
                    Some(KeyAlgorithm::PS384) => Algorithm::PS384,
                    Some(KeyAlgorithm::PS512) => Algorithm::PS512,
                    _ => return None,
                },
                _ => return None,
            };
            Some(Key {
                kid: jwk.common.key_id.clone(),
                algorithm,
                key: DecodingKey::from_jwk(jwk).ok()?,
            })
        })
        .collect();
    if keys.is_empty() {
        return Err("the JWKS holds no usable signature key".to_owned());
    }
    Ok(keys)
}
