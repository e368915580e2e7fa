//! Verification of access tokens (TS 33.122 clause C.2, RFC 7515, RFC 8725): keys come from the CCF alone, and the algorithm comes from
//! the key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_client::Provider;
use capif_spec::{json, security::AccessTokenClaims};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm},
};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{answer::Denial, link::ANSWER_TIME};

/// How far the clocks of CCF and AEF may be apart, in seconds (R-C-05).
const SKEW_SECONDS: i64 = 30;

/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The pause between two fetches that are made because a token names an unknown key, however many are named: who comes in
/// between waits, and all share the next fetch.
const FETCH_PAUSE: Duration = Duration::from_secs(1);

/// How long it is believed that there is no such key.
const ABSENT_AGE_MAX: Duration = Duration::from_secs(5);

/// How many such names are remembered.
const ABSENT_MAX: usize = 1024;

/// The longest name of a key, in bytes.
const KID_BYTES_MAX: usize = 256;

/// How many keys are taken.
const KEYS_MAX: usize = 64;

struct Key {
    kid: String,
    /// What the key is for: never what a token says.
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Where the keys come from.
pub(crate) trait KeySource: Send + Sync + 'static {
    /// The set as it is published now.
    fn set(&self) -> impl Future<Output = Result<serde_json::Value, capif_client::Error>> + Send;
}

impl KeySource for Arc<Provider> {
    async fn set(&self) -> Result<serde_json::Value, capif_client::Error> {
        self.jwks().await
    }
}

/// The last fetch.
struct Fetch {
    /// What is answered holds from here on; of a fetch without an answer, when it ended.
    at: Instant,
    answered: bool,
}

/// The token keys of the CCF.
pub(crate) struct TokenKeys<S: KeySource = Arc<Provider>> {
    source: S,
    keys: ArcSwap<Vec<Key>>,
    /// One fetch at a time, so that an older answer never replaces a newer one.
    fetching: tokio::sync::Mutex<Option<Fetch>>,
    /// The names of keys that there were not, and until when that is believed.
    absent: Mutex<HashMap<String, Instant>>,
}

#[derive(Deserialize)]
struct JoseHeader {
    alg: String,
    kid: String,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

impl<S: KeySource> TokenKeys<S> {
    /// Fetches the keys for the first time.
    pub(crate) async fn fetch(source: S) -> Result<Self, capif_client::Error> {
        let keys = Self {
            source,
            keys: ArcSwap::default(),
            fetching: tokio::sync::Mutex::default(),
            absent: Mutex::default(),
        };
        keys.look().await?;
        Ok(keys)
    }

    /// Verifies a token and its time.
    pub(crate) async fn verify(
        &self,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<AccessTokenClaims, Denial> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Denial::InvalidToken);
        }
        let (header, claims) = split(token).ok_or(Denial::InvalidToken)?;
        if header.crit.is_some() || !["ES256", "RS256"].contains(&header.alg.as_str()) {
            return Err(Denial::InvalidToken);
        }
        if !self.holds(&header.kid) {
            self.find(&header.kid).await?;
        }
        let keys = self.keys.load();
        let key = keys
            .iter()
            .find(|key| key.kid == header.kid)
            .ok_or(Denial::InvalidToken)?;
        if header.alg != format!("{:?}", key.algorithm) {
            return Err(Denial::InvalidToken);
        }
        let mut validation = Validation::new(key.algorithm);
        // Time is judged below, by the gateway's own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        if jsonwebtoken::decode::<AccessTokenClaims>(token, &key.key, &validation).is_err() {
            return Err(Denial::InvalidToken);
        }
        let seconds = now.unix_timestamp();
        if claims.exp.saturating_add(SKEW_SECONDS) <= seconds {
            return Err(Denial::ExpiredToken);
        }
        let early = |begin: Option<i64>| {
            begin.is_some_and(|begin| begin > seconds.saturating_add(SKEW_SECONDS))
        };
        if early(claims.nbf) || early(claims.iat) {
            return Err(Denial::InvalidToken);
        }
        Ok(claims)
    }

    /// Fetches the keys as they are now (D-28), whatever was fetched before. A key that is not published any more is dropped.
    pub(crate) async fn look(&self) -> Result<(), capif_client::Error> {
        self.take(&mut *self.fetching.lock().await).await
    }

    fn holds(&self, kid: &str) -> bool {
        self.keys.load().iter().any(|key| key.kid == kid)
    }

    /// Looks for a key of which nobody has heard. That there is none rests on a fetch that began after the token came, so that no
    /// token is refused because its key is newer than what is remembered.
    async fn find(&self, kid: &str) -> Result<(), Denial> {
        let arrived = Instant::now();
        if kid.len() > KID_BYTES_MAX || self.is_absent(kid, arrived) {
            return Err(Denial::InvalidToken);
        }
        let mut last = self.fetching.lock().await;
        if self.holds(kid) {
            return Ok(());
        }
        let fetched = last.as_ref().is_some_and(|last| last.at > arrived);
        if !fetched {
            if let Some(last) = &*last {
                tokio::time::sleep_until(last.at + FETCH_PAUSE).await;
            }
            let fetch = tokio::time::timeout(ANSWER_TIME, self.take(&mut last));
            let reason = match fetch.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("no answer in time".to_owned()),
            };
            if let Some(reason) = reason {
                tracing::warn!(reason, "token keys were not fetched");
                // Those who wait share this as well.
                *last = Some(Fetch {
                    at: Instant::now(),
                    answered: false,
                });
            }
        }
        if self.holds(kid) {
            return Ok(());
        }
        if !last.as_ref().is_some_and(|last| last.answered) {
            return Err(Denial::Unchecked);
        }
        let mut absent = self.absent();
        if absent.len() >= ABSENT_MAX {
            absent.clear();
        }
        absent.insert(kid.to_owned(), Instant::now() + ABSENT_AGE_MAX);
        Err(Denial::InvalidToken)
    }

    /// Fetches, and notes when that began.
    async fn take(&self, last: &mut Option<Fetch>) -> Result<(), capif_client::Error> {
        let at = Instant::now();
        let set = self.source.set().await?;
        *last = Some(Fetch { at, answered: true });
        self.keys.store(Arc::new(read(&set)));
        self.absent().clear();
        Ok(())
    }

    fn is_absent(&self, kid: &str, now: Instant) -> bool {
        self.absent().get(kid).is_some_and(|until| now < *until)
    }

    fn absent(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Header and claims, read strictly: no member twice, every claim of its type.
fn split(token: &str) -> Option<(JoseHeader, AccessTokenClaims)> {
    let mut segments = token.split('.');
    let (header, claims) = (segments.next()?, segments.next()?);
    if segments.next()?.is_empty() || segments.next().is_some() {
        return None;
    }
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).ok()?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    Some((
        json::from_slice(&header).ok()?,
        json::from_slice(&claims).ok()?,
    ))
}

/// The keys of a JWKS: for ES256, and for RS256 where the core function serves deployed clients. One that cannot be read is left out;
/// it takes no other along.
fn read(set: &serde_json::Value) -> Vec<Key> {
    let keys = set.get("keys").and_then(serde_json::Value::as_array);
    let keys = keys.into_iter().flatten();
    keys.filter_map(|jwk| {
        let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::RSA(_)
                if jwk.common.key_algorithm == Some(KeyAlgorithm::RS256) =>
            {
                Algorithm::RS256
            }
            _ => return None,
        };
        Some(Key {
            algorithm,
            key: DecodingKey::from_jwk(&jwk).ok()?,
            kid: jwk.common.key_id?,
        })
    })
    .take(KEYS_MAX)
    .collect()
}

#[cfg(test)]
mod tests;
