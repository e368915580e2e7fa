//! Verification of access tokens (TS 33.122 clause C.2, RFC 7515, RFC 8725): keys come from the CCF alone, and the algorithm comes from
//! the key.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_client::Provider;
use capif_spec::{json, security::AccessTokenClaims};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, JwkSet},
};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use crate::answer::Denial;

/// How far the clocks of CCF and AEF may be apart, in seconds (R-C-05).
const SKEW_SECONDS: i64 = 30;

/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The shortest pause between two fetches of keys, however many unknown ones are named.
const FETCH_PAUSE: Duration = Duration::seconds(5);

struct Key {
    kid: String,
    key: DecodingKey,
}

/// The token keys of the CCF.
pub(crate) struct TokenKeys {
    provider: Arc<Provider>,
    keys: ArcSwap<Vec<Key>>,
    fetched: Mutex<OffsetDateTime>,
}

#[derive(Deserialize)]
struct JoseHeader {
    alg: String,
    kid: String,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

impl TokenKeys {
    /// Fetches the keys for the first time.
    pub(crate) async fn fetch(
        provider: Arc<Provider>,
        now: OffsetDateTime,
    ) -> Result<Self, capif_client::Error> {
        let keys = read(&provider.jwks().await?);
        Ok(Self {
            provider,
            keys: ArcSwap::from_pointee(keys),
            fetched: Mutex::new(now),
        })
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
        if header.crit.is_some() || header.alg != "ES256" {
            return Err(Denial::InvalidToken);
        }
        if !self.holds(&header.kid) {
            self.fetch_again(now).await;
        }
        let keys = self.keys.load();
        let key = keys
            .iter()
            .find(|key| key.kid == header.kid)
            .ok_or(Denial::InvalidToken)?;
        let mut validation = Validation::new(Algorithm::ES256);
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

    /// Fetches the keys as they are now (D-28). Says whether that worked.
    pub(crate) async fn look(&self) -> Result<(), capif_client::Error> {
        let set = self.provider.jwks().await?;
        self.keys.store(Arc::new(read(&set)));
        Ok(())
    }

    fn holds(&self, kid: &str) -> bool {
        self.keys.load().iter().any(|key| key.kid == kid)
    }

    /// Fetches the keys once more, but not for every unknown name that somebody invents.
    async fn fetch_again(&self, now: OffsetDateTime) {
        {
            let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
            if now - *fetched < FETCH_PAUSE {
                return;
            }
            *fetched = now;
        }
        if let Err(error) = self.look().await {
            tracing::warn!(%error, "token keys were not fetched");
        }
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

/// The ES256 keys of a JWKS.
fn read(set: &serde_json::Value) -> Vec<Key> {
    let set: JwkSet = serde_json::from_value(set.clone()).unwrap_or(JwkSet { keys: Vec::new() });
    set.keys
        .iter()
        .filter_map(|jwk| {
            let AlgorithmParameters::EllipticCurve(key) = &jwk.algorithm else {
                return None;
            };
            if key.curve != EllipticCurve::P256 {
                return None;
            }
            Some(Key {
                kid: jwk.common.key_id.clone()?,
                key: DecodingKey::from_jwk(jwk).ok()?,
            })
        })
        .collect()
}
