//! Compact JWS (RFC 7515) made by hand: honest ones, and such as only a forger makes.

use std::path::Path;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::Value;

/// A P-256 key, or an RSA key.
pub struct Key {
    pkcs8: Vec<u8>,
}

impl Key {
    /// From a PEM file, the core function's own for example.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        Self {
            pkcs8: pem::parse(text).unwrap().into_contents(),
        }
    }

    /// A key of the same kind that nobody knows.
    pub fn another(&self) -> Self {
        let key = match RsaKeyPair::from_pkcs8(&self.pkcs8) {
            Ok(_) => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Err(_) => KeyPair::generate(),
        };
        Self {
            pkcs8: key.unwrap().serialize_der(),
        }
    }

    fn signed(
        &self,
        input: &str,
        (ecdsa, rsa): (&'static EcdsaSigningAlgorithm, &'static dyn RsaEncoding),
    ) -> Vec<u8> {
        let random = SystemRandom::new();
        if let Ok(pair) = RsaKeyPair::from_pkcs8(&self.pkcs8) {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(rsa, &random, input.as_bytes(), &mut signature)
                .unwrap();
            return signature;
        }
        let pair = EcdsaKeyPair::from_pkcs8(ecdsa, &self.pkcs8).unwrap();
        pair.sign(&random, input.as_bytes())
            .unwrap()
            .as_ref()
            .to_vec()
    }

    /// ES256 or RS256 over header and payload, which are taken as they are.
    pub fn sign(&self, header: &str, payload: &str) -> String {
        let input = input(header, payload);
        let algorithms = (&ECDSA_P256_SHA256_FIXED_SIGNING, &RSA_PKCS1_SHA256 as _);
        format!("{input}.{}", encode(&self.signed(&input, algorithms)))
    }

    /// The same in a form that is not of that algorithm: as X.509 has signatures, or with the padding of PS256.
    pub fn sign_otherwise(&self, header: &str, payload: &str) -> String {
        let input = input(header, payload);
        let algorithms = (&ECDSA_P256_SHA256_ASN1_SIGNING, &RSA_PSS_SHA256 as _);
        format!("{input}.{}", encode(&self.signed(&input, algorithms)))
    }
}

/// HS256 with any octets as the key.
pub fn hs256(key: &[u8], header: &str, payload: &str) -> String {
    let input = input(header, payload);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), input.as_bytes());
    format!("{input}.{}", encode(tag.as_ref()))
}

/// Header and payload with this signature.
pub fn with_signature(header: &str, payload: &str, signature: &str) -> String {
    format!("{}.{signature}", input(header, payload))
}

fn input(header: &str, payload: &str) -> String {
    format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(payload.as_bytes())
    )
}

pub fn encode(octets: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(octets)
}

/// Header, claims and signature of a token.
pub fn taken_apart(token: &str) -> (Value, Value, String) {
    let parts: Vec<&str> = token.split('.').collect();
    let json =
        |part: &str| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (json(parts[0]), json(parts[1]), parts[2].to_owned())
}
