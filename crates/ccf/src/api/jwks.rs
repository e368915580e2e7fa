//! The public keys of access tokens (RFC 7517): how AEFs get them is left open by TS 29.222.

use http::{HeaderValue, StatusCode, header};
use time::Duration;

use super::{Answer, Call, json_answer, problem::ApiError};

/// How long an answer may be kept at most.
const AGE_MAX: Duration = Duration::seconds(60);

/// `GET /.well-known/jwks.json`. Whoever keeps the answer as long as it says knows each key before it signs.
pub(crate) fn get(call: Call) -> Answer {
    Box::pin(async move {
        let core = &call.core;
        let set = core.access_tokens.jwk_set(&call.now);
        let age = AGE_MAX.min(core.config.security.token_timing().ahead / 2);
        let mut response = json_answer(StatusCode::OK, &set)?;
        let age = HeaderValue::from_str(&format!("max-age={}", age.whole_seconds()))
            .map_err(|_| ApiError::Internal("a number is no header"))?;
        response.headers_mut().insert(header::CACHE_CONTROL, age);
        Ok(response)
    })
}
