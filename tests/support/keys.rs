//! Key pairs, certificate requests and JSON Web Tokens, good ones and forged ones.

use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData,
};
use serde_json::{Value, json};

use super::jws::encode;

/// RSA keys take long to make: one serves all tests.
static RSA_2048: LazyLock<String> = LazyLock::new(|| {
    KeyPair::generate_for(&PKCS_RSA_SHA256)
        .unwrap()
        .serialize_pem()
});

pub fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

pub fn p384() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()
}

pub fn ed25519() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

pub fn rsa_2048() -> KeyPair {
    KeyPair::from_pem(&RSA_2048).unwrap()
}

/// A PKCS#10 request for this key.
pub fn request(key: &KeyPair) -> String {
    request_with(key, |_| {})
}

/// A PKCS#10 request that asks for more than a key.
pub fn request_with(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    change(&mut params);
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// The SubjectPublicKeyInfo as PEM.
pub fn public_pem(key: &KeyPair) -> String {
    pem(&key.subject_public_key_info(), "PUBLIC KEY")
}

/// One PEM block.
pub fn pem(der: &[u8], tag: &str) -> String {
    pem::encode(&pem::Pem::new(tag, der))
}

/// The octets of the one PEM block in a text.
pub fn der(pem_text: &str) -> Vec<u8> {
    pem::parse(pem_text).unwrap().into_contents()
}

/// A key that signs tokens.
#[derive(Clone)]
pub struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    public_pem: String,
    pub kid: String,
}

impl Signer {
    pub fn es256(kid: &str) -> Self {
        Self::from_pem(&p256().serialize_pem(), Algorithm::ES256, kid)
    }

    pub fn eddsa(kid: &str) -> Self {
        Self::from_pem(&ed25519().serialize_pem(), Algorithm::EdDSA, kid)
    }

    pub fn rs256(kid: &str) -> Self {
        Self::from_pem(&RSA_2048, Algorithm::RS256, kid)
    }

    pub fn from_pem(pem: &str, algorithm: Algorithm, kid: &str) -> Self {
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()),
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem.as_bytes()),
            _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
        };
        Self {
            key: key.unwrap(),
            algorithm,
            public_pem: public_pem(&KeyPair::from_pem(pem).unwrap()),
            kid: kid.to_owned(),
        }
    }

    /// The same key under another name.
    pub fn named(&self, kid: &str) -> Self {
        Self {
            kid: kid.to_owned(),
            ..self.clone()
        }
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header =
            json!({ "alg": format!("{:?}", self.algorithm), "kid": self.kid, "typ": "JWT" });
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    /// A token with header and claims exactly as given, however odd.
    pub fn sign_texts(&self, header: &str, claims: &str) -> String {
        let message = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// The public half as PEM, as a forger would find it.
    pub fn public_pem(&self) -> String {
        self.public_pem.clone()
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        if self.algorithm == Algorithm::EdDSA {
            // The raw key is what follows the twelve octets that say which kind it is (RFC 8410 section 4).
            let x = encode(&der(&self.public_pem)[12..]);
            return json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid });
        }
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).unwrap()
    }
}

/// The public halves of some keys (RFC 7517 section 5).
pub fn jwks(signers: &[&Signer]) -> Value {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() })
}
