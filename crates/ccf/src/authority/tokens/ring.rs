//! The keys of access tokens, one after the other, as their records have them.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::Path,
    sync::Arc,
};

use arc_swap::ArcSwap;
use capif_procedures::{
    changes::{Changes, Key, Kind, Versioned},
    state::TokenKey,
    token_keys::{self, NewKey, Ring},
};
use capif_spec::{
    common::{DateTime, Redacted},
    security::AccessTokenClaims,
};
use jsonwebtoken::{Algorithm, Validation, jwk::JwkSet};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{SigningKey, create, files, jws};
use crate::{
    audit::Act,
    authority::{AuthorityError, custody::Custody, tls_key::TlsKey},
    sealing::{self, SealingKey},
    store::{self, CommitError, Committed, Observer, Store},
};

/// All keys of access tokens of one CCF.
pub(crate) struct TokenRing {
    /// What signs in the place of the ring, for AEFs that know no other key.
    tls_key: Option<Arc<TlsKey>>,
    sealing: Arc<SealingKey>,
    held: ArcSwap<Held>,
}

#[derive(Default)]
struct Held {
    ring: Ring,
    /// The keys that open, by their names.
    keys: HashMap<String, Arc<SigningKey>>,
}

/// The header members that count (RFC 7515 section 4.1).
#[derive(Deserialize)]
struct JoseHeader {
    alg: String,
    kid: String,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

impl std::fmt::Debug for TokenRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRing").finish_non_exhaustive()
    }
}

impl TokenRing {
    /// Loads the ring, and follows the store from then on. The first time, the key file of the folder begins it.
    ///
    /// # Errors
    /// When there is no key and none can be made, or the store fails.
    pub(crate) async fn load(
        dir: &Path,
        custody: &Custody,
        sealing: &Arc<SealingKey>,
        store: &Arc<dyn Store>,
        tls_key: Option<Arc<TlsKey>>,
        now: &DateTime,
    ) -> Result<Arc<Self>, AuthorityError> {
        let ring = Arc::new(Self {
            tls_key,
            sealing: Arc::clone(sealing),
            held: ArcSwap::default(),
        });
        store.watch(Arc::clone(&ring) as Arc<dyn Observer>);
        for key in store::load_all::<TokenKey>(store.as_ref(), "").await? {
            ring.edit(|held| ring.take(held, key));
        }
        if ring.ring().all().next().is_none() {
            let text = if dir.join(files::ACCESS).exists() {
                custody.read(dir, files::ACCESS)?
            } else {
                Zeroizing::new(create()?)
            };
            let key = ring.seal(&text)?;
            let act = Act::by_task("BeginTokenKeys", key.kid.clone());
            let mut changes = token_keys::begin(key, now);
            act.record(&mut changes, now.clone());
            write(store.as_ref(), changes).await?;
        } else if ring.held.load().keys.is_empty() {
            tracing::warn!(
                file = sealing::FILE,
                "no key of access tokens opens: was the sealing key changed? A new one takes their place"
            );
            let none = std::iter::empty();
            let key = ring.make()?;
            let act = Act::by_task("ReplaceTokenKeys", key.kid.clone());
            let mut changes = token_keys::replace(&ring.ring(), key, none, now);
            act.record(&mut changes, now.clone());
            write(store.as_ref(), changes).await?;
        }
        ring.forget_file(dir, custody);
        Ok(ring)
    }

    /// The keys as they are now.
    pub(crate) fn ring(&self) -> Ring {
        self.held.load().ring.clone()
    }

    /// What signs in the place of the ring.
    pub(crate) fn tls_key(&self) -> Option<&TlsKey> {
        self.tls_key.as_deref()
    }

    /// A new key, sealed. It counts for nothing until it is committed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn make(&self) -> Result<NewKey, AuthorityError> {
        self.seal(&Zeroizing::new(create()?))
    }

    /// Signs claims by the key whose time it is, as a compact JWS whose header tells their kind.
    ///
    /// # Errors
    /// When there is no key, or signing fails.
    pub(crate) fn sign(
        &self,
        typ: &str,
        claims: &impl Serialize,
        now: &DateTime,
    ) -> Result<Redacted, AuthorityError> {
        if let Some(key) = &self.tls_key {
            return key.sign(typ, claims);
        }
        let held = self.held.load();
        let signing = held.ring.signing(now);
        signing
            .and_then(|key| held.keys.get(&key.kid))
            .ok_or_else(|| AuthorityError::Material("no key signs access tokens".to_owned()))?
            .sign(typ, claims)
    }

    /// The public halves that are handed out at this moment (RFC 7517).
    pub(crate) fn jwk_set(&self, now: &DateTime) -> JwkSet {
        let held = self.held.load();
        let keys = held.ring.published(now);
        JwkSet {
            keys: keys
                .filter_map(|key| held.keys.get(&key.kid))
                .map(|key| key.jwk().clone())
                .chain(self.tls_key.iter().map(|key| key.jwk()))
                .collect(),
        }
    }

    /// What a token of ours says, if one of the keys that are handed out signed it. Its time is not judged.
    pub(crate) fn verify(&self, token: &str, now: &DateTime) -> Option<AccessTokenClaims> {
        let (header, claims): (JoseHeader, AccessTokenClaims) = jws::parts(token)?;
        if header.crit.is_some() {
            return None;
        }
        // The algorithm comes from the key that is named, never from the token.
        if let Some(key) = self.tls_key.as_ref().filter(|key| key.kid() == header.kid) {
            return (header.alg == "RS256" && key.signed(token)).then_some(claims);
        }
        if header.alg != "ES256" {
            return None;
        }
        let held = self.held.load();
        let mut published = held.ring.published(now);
        let key = published.find(|key| key.kid == header.kid)?;
        let key = held.keys.get(&key.kid)?.decoding_key().ok()?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode::<AccessTokenClaims>(token, &key, &validation).ok()?;
        Some(claims)
    }

    /// Removes the key file of the folder once its key is not in the ring any more, so that it can never begin another one.
    pub(crate) fn forget_file(&self, dir: &Path, custody: &Custody) {
        if !dir.join(files::ACCESS).exists() {
            return;
        }
        let kid = custody
            .read(dir, files::ACCESS)
            .ok()
            .and_then(|text| SigningKey::from_pem(&text).ok())
            .map(|key| key.kid().to_owned());
        if kid.is_none_or(|kid| self.ring().all().any(|key| key.kid == kid)) {
            return;
        }
        if let Err(error) = custody.erase(dir, files::ACCESS) {
            tracing::warn!(%error, "a key of access tokens that signs no longer was not removed");
        }
    }

    fn seal(&self, text: &str) -> Result<NewKey, AuthorityError> {
        let kid = SigningKey::from_pem(text)?.kid().to_owned();
        let sealed = self
            .sealing
            .seal_octets(text.as_bytes(), &purpose(&kid))
            .ok_or_else(|| {
                AuthorityError::Material("a key of access tokens cannot be sealed".to_owned())
            })?;
        Ok(NewKey { kid, sealed })
    }

    fn open(&self, key: &TokenKey) -> Option<SigningKey> {
        let text = self.sealing.open_octets(&key.sealed, &purpose(&key.kid))?;
        let opened = SigningKey::from_pem(std::str::from_utf8(&text).ok()?).ok()?;
        (opened.kid() == key.kid).then_some(opened)
    }

    fn take(&self, held: &mut Held, key: Versioned<TokenKey>) {
        let kid = &key.record.kid;
        if let Entry::Vacant(place) = held.keys.entry(kid.clone()) {
            match self.open(&key.record) {
                Some(opened) => drop(place.insert(Arc::new(opened))),
                None => tracing::warn!(kid, "a key of access tokens does not open"),
            }
        }
        held.ring = held.ring.with(key);
    }

    /// Changes what is held in one step. Commits come one after the other.
    fn edit(&self, edit: impl FnOnce(&mut Held)) {
        let before = self.held.load();
        let mut held = Held {
            ring: before.ring.clone(),
            keys: before.keys.clone(),
        };
        edit(&mut held);
        self.held.store(Arc::new(held));
    }
}

impl Observer for TokenRing {
    fn committed(&self, committed: &Committed) {
        let ours = |key: &&Key| key.kind == Kind::TokenKey;
        let put = committed.puts.iter().any(|(key, _)| ours(&key));
        if !put && !committed.deletes.iter().any(|key| ours(&key)) {
            return;
        }
        self.edit(|held| {
            for key in committed.deletes.iter().filter(ours) {
                held.ring = held.ring.without(&key.id);
                held.keys.remove(&key.id);
            }
            for (key, stored) in committed.puts.iter().filter(|(key, _)| ours(&key)) {
                match store::decode::<TokenKey>(key, stored) {
                    Ok(record) => self.take(held, record),
                    Err(error) => {
                        tracing::error!(id = key.id, %error, "the record of a key of access tokens does not decode");
                    }
                }
            }
        });
    }
}

/// What a key is sealed for.
fn purpose(kid: &str) -> String {
    format!("access token key {kid}")
}

async fn write(store: &dyn Store, changes: Changes) -> Result<(), AuthorityError> {
    match store.commit(changes).await {
        Ok(_) => Ok(()),
        Err(CommitError::Fault(fault)) => Err(fault.into()),
        Err(CommitError::Conflict(_)) => Err(AuthorityError::Material(
            "the keys of access tokens are changed by another process".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;
