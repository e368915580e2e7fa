//! Compact JWS (RFC 7515 section 7.1), taken apart before anything of it is believed.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_spec::json;
use serde::de::DeserializeOwned;

/// Header and claims, read strictly: no member twice, each of its type. `None` when this is no compact JWS with a signature.
pub(crate) fn parts<H: DeserializeOwned, C: DeserializeOwned>(token: &str) -> Option<(H, C)> {
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
