//! Credentials that must not be accepted.

use anyhow::Context;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Value, json};

/// A public RSA key of 1024 bits, which is too short (TS 33.310 clause 6.1.1).
pub(super) const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDBXpBSLuUliJbhBqJU+n6bVN0Y
1BuVaUgbU4z8ycfjc5hlkT5mBYMXerOMkLmPTF+h6FQMy2oqPNbuNVLkA6nVTP6I
lzvCz1xl3zytszv4pHWUiX0CUrQR9zuDz3PCyW/3zgY/yq0sDEa4ee/MpZOM287s
jt2llvrCjJ5wiobu4QIDAQAB
-----END PUBLIC KEY-----
";

/// A JWT taken apart (RFC 7519).
pub(super) struct Jwt {
    pub(super) header: Value,
    pub(super) claims: Value,
    signature: String,
}

impl Jwt {
    pub(super) fn parse(token: &str) -> anyhow::Result<Self> {
        let mut parts = token.split('.');
        let mut next = || parts.next().context("the token has no three parts");
        let (header, claims, signature) = (next()?, next()?, next()?);
        let decode = |part: &str| -> anyhow::Result<Value> {
            Ok(serde_json::from_slice(
                &BASE64_URL_SAFE_NO_PAD.decode(part)?,
            )?)
        };
        Ok(Self {
            header: decode(header)?,
            claims: decode(claims)?,
            signature: signature.to_owned(),
        })
    }

    /// The same claims, signed by somebody else under the name of the same key.
    pub(super) fn signed_by_another(&self) -> anyhow::Result<String> {
        let content = self.content(&self.header);
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| anyhow::anyhow!("no key could be made"))?;
        let signature = key
            .sign(&SystemRandom::new(), content.as_bytes())
            .map_err(|_| anyhow::anyhow!("nothing could be signed"))?;
        Ok(format!(
            "{content}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(signature)
        ))
    }

    /// The same claims with no signature, and a header that says so.
    pub(super) fn unsigned(&self) -> String {
        let mut header = self.header.clone();
        if let Some(members) = header.as_object_mut() {
            members.insert("alg".to_owned(), json!("none"));
            members.remove("kid");
        }
        format!("{}.", self.content(&header))
    }

    /// The same signature under other claims.
    pub(super) fn with_claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        if let Some(members) = claims.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
        let changed = Self {
            header: self.header.clone(),
            claims,
            signature: self.signature.clone(),
        };
        format!("{}.{}", changed.content(&changed.header), changed.signature)
    }

    fn content(&self, header: &Value) -> String {
        let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        format!("{}.{}", encode(header), encode(&self.claims))
    }
}
