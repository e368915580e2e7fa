//! Signing keys for tokens, and their public halves.

pub(crate) mod jws;
mod ring;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_spec::common::Redacted;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header,
    jwk::{Jwk, ThumbprintHash},
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::Serialize;
use zeroize::Zeroizing;

pub(crate) use self::ring::TokenRing;
use super::AuthorityError;

/// Names of the files of signing keys within the CCF's folder.
pub mod files {
    /// The first key that signs access tokens. Those that follow lie in the store, sealed.
    pub const ACCESS: &str = "keys/access-token.key";
    /// Signs onboarding and registration credentials.
    pub const CREDENTIAL: &str = "keys/credential.key";
}

/// Room for the signature of a token, and what stands between its parts.
const ROOM_BYTES: usize = 96;

/// A new ES256 key, as PEM.
pub(crate) fn create() -> Result<String, AuthorityError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?.serialize_pem())
}

/// An ES256 signing key (TS 33.210 clause 6.3.3); `kid` is its thumbprint (RFC 7638).
pub struct SigningKey {
    /// Ready to sign: reading a key and checking it takes longer than a signature does.
    key: EcdsaKeyPair,
    jwk: Jwk,
    kid: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a key.
    ///
    /// # Errors
    /// When the text is not a PKCS#8 PEM of a P-256 key.
    pub fn from_pem(pem: &str) -> Result<Self, AuthorityError> {
        let unusable = |error: jsonwebtoken::errors::Error| {
            AuthorityError::Material(format!("token signing key: {error}"))
        };
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(unusable)?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(unusable)?;
        let block = pem::parse(pem)
            .map_err(|error| AuthorityError::Material(format!("token signing key: {error}")))?;
        let pkcs8 = Zeroizing::new(block.into_contents());
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
            .map_err(|error| AuthorityError::Material(format!("token signing key: {error}")))?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(unusable)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
        Ok(Self { key, jwk, kid })
    }

    /// Signs claims as a compact JWS (RFC 7515) whose header tells their kind.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<Redacted, AuthorityError> {
        let header = Header {
            typ: Some(typ.to_owned()),
            kid: Some(self.kid.clone()),
            ..Header::new(Algorithm::ES256)
        };
        let failed = |error: &dyn std::fmt::Display| {
            AuthorityError::Material(format!("signing a token: {error}"))
        };
        let header = serde_json::to_vec(&header).map_err(|error| failed(&error))?;
        let claims = serde_json::to_vec(claims).map_err(|error| failed(&error))?;
        let mut token = String::with_capacity((header.len() + claims.len()) * 4 / 3 + ROOM_BYTES);
        BASE64_URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self
            .key
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|error| failed(&error))?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Redacted::from(token))
    }

    /// The name of the key.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half (RFC 7517).
    #[must_use]
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// The public half, to verify with.
    ///
    /// # Errors
    /// When the library cannot use it.
    pub fn decoding_key(&self) -> Result<DecodingKey, AuthorityError> {
        DecodingKey::from_jwk(&self.jwk)
            .map_err(|error| AuthorityError::Material(format!("token signing key: {error}")))
    }
}
