//! The public keys of access tokens (RFC 7517): how AEFs get them is left open by TS 29.222.

use http::{HeaderValue, StatusCode, header};

use super::{Answer, Call, json_answer};

/// `GET /.well-known/jwks.json`.
pub(crate) fn get(call: Call) -> Answer {
    Box::pin(async move {
        let mut response = json_answer(StatusCode::OK, &call.core.access_tokens.jwk_set())?;
        response.headers_mut().insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("max-age=60"),
        );
        Ok(response)
    })
}
