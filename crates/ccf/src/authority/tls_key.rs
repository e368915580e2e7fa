//! The key of the core function's own certificate where it is kept across renewals, and signs access tokens too: AEFs of OpenCAPIF
//! take their key from the certificate that the core function shows, once, and know no other way. Only in that profile. It is replaced
//! in a compromise alone.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use capif_spec::{
    common::{DateTime, Redacted},
    security::AccessTokenClaims,
};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{AuthorityError, custody::Custody};

/// Where it lies within the CCF's folder.
const FILE: &str = "keys/opencapif.key";

/// An RSA key of 2048 bits, which stays the same unless it is compromised.
pub(crate) struct TlsKey(ArcSwap<Held>);

struct Held {
    pem: Zeroizing<String>,
    signing: EncodingKey,
    verifying: DecodingKey,
    jwk: Jwk,
    kid: String,
    made: DateTime,
}

impl std::fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsKey")
            .field("kid", &self.kid())
            .finish_non_exhaustive()
    }
}

impl TlsKey {
    /// Opens the key of a folder, which is made the first time.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub(crate) fn open(dir: &Path, custody: &Custody) -> Result<Self, AuthorityError> {
        if !dir.join(FILE).exists() {
            make(dir, custody)?;
        }
        let held = Held::read(dir, custody)?;
        Ok(Self(ArcSwap::from_pointee(held)))
    }

    /// Puts another key in its place: what this one signed counts no longer. A certificate for the new one has to be made out.
    ///
    /// # Errors
    /// When it cannot be made or written; then this one stays.
    pub(crate) fn replace(&self, dir: &Path, custody: &Custody) -> Result<(), AuthorityError> {
        make(dir, custody)?;
        self.0.store(Arc::new(Held::read(dir, custody)?));
        Ok(())
    }

    /// The key to be certified.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn key_pair(&self) -> Result<KeyPair, AuthorityError> {
        Ok(KeyPair::from_pkcs8_pem_and_sign_algo(
            &self.0.load().pem,
            &PKCS_RSA_SHA256,
        )?)
    }

    /// Signs claims with RS256, as a compact JWS whose header tells their kind.
    ///
    /// # Errors
    /// When signing fails.
    pub(crate) fn sign(
        &self,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<Redacted, AuthorityError> {
        let held = self.0.load();
        let header = Header {
            typ: Some(typ.to_owned()),
            kid: Some(held.kid.clone()),
            ..Header::new(Algorithm::RS256)
        };
        jsonwebtoken::encode(&header, claims, &held.signing)
            .map(Redacted::from)
            .map_err(|error| AuthorityError::Material(format!("signing a token: {error}")))
    }

    /// Its name.
    pub(crate) fn kid(&self) -> String {
        self.0.load().kid.clone()
    }

    /// When it was made.
    pub(crate) fn made(&self) -> DateTime {
        self.0.load().made.clone()
    }

    /// Whether it signed a token.
    pub(crate) fn signed(&self, token: &str) -> bool {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let verifying = &self.0.load().verifying;
        jsonwebtoken::decode::<AccessTokenClaims>(token, verifying, &validation).is_ok()
    }

    /// The public half (RFC 7517).
    pub(crate) fn jwk(&self) -> Jwk {
        self.0.load().jwk.clone()
    }
}

/// Makes the file.
fn make(dir: &Path, custody: &Custody) -> Result<(), AuthorityError> {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    custody.write(dir, FILE, &Zeroizing::new(key.serialize_pem()))?;
    Ok(())
}

impl Held {
    fn read(dir: &Path, custody: &Custody) -> Result<Self, AuthorityError> {
        let pem = custody.read(dir, FILE)?;
        let made = std::fs::metadata(dir.join(FILE)).and_then(|file| file.modified());
        let made = made.map_err(|error| AuthorityError::Material(format!("{FILE}: {error}")))?;
        let made = DateTime(made.into());
        let unusable = |error: jsonwebtoken::errors::Error| {
            AuthorityError::Material(format!("{FILE}: {error}"))
        };
        let signing = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(unusable)?;
        let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::RS256).map_err(unusable)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            verifying: DecodingKey::from_jwk(&jwk).map_err(unusable)?,
            pem,
            signing,
            jwk,
            kid,
            made,
        })
    }
}
