//! Whether an access token counts now, for AEFs that ask instead of judging it themselves (RFC 7662), and where everything is (RFC
//! 8414). TS 29.222 leaves open how an AEF comes to know.

use capif_procedures::{
    introspection::{self, Known},
    refusal::Refusal,
};
use capif_spec::{
    common::AefId,
    security::{AccessTokenClaims, AccessTokenReq},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Call, json_answer};

/// The longest token that is looked at, in octets.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The request (RFC 7662 section 2.1).
#[derive(Deserialize)]
struct Question {
    token: String,
}

/// `POST /capif-token-introspection/v1/introspect`: what a token opens at the AEF that asks, and nothing about other AEFs. A token
/// that opens nothing there is not active, whatever the reason.
pub(crate) fn introspect(call: Call) -> Answer {
    Box::pin(async move {
        let question: Question = serde_urlencoded::from_bytes(&call.body).map_err(|_| {
            Refusal::incorrect("/token", "the form has one `token`: the access token")
        })?;
        let aef_id = AefId::new(call.caller.function()?.id.as_str());
        let answer = active(&call, &question.token, &aef_id);
        json_answer(
            StatusCode::OK,
            &answer.unwrap_or_else(|| json!({ "active": false })),
        )
    })
}

fn active(call: &Call, token: &str, aef_id: &AefId) -> Option<Value> {
    let core = &call.core;
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let claims = core.access_tokens.verify(token, &call.now)?;
    let id = claims.client_id.clone()?;
    let records = core.view.read();
    let context = &records.context(&id)?.record;
    let known = Known {
        invoker: &records.invoker(&id)?.record,
        context,
        apis: records.apis_around(Some(context)).into_iter(),
        policy: &core.policy,
    };
    let scope = introspection::introspect(&claims, aef_id, known, &core.terms(), &call.now)?;
    let AccessTokenClaims {
        iss,
        sub,
        iat,
        nbf,
        exp,
        jti,
        cnf,
        ..
    } = claims;
    let all = json!({
        "active": true,
        "scope": scope.to_string(),
        "client_id": id,
        "token_type": "Bearer",
        "exp": exp,
        "iat": iat,
        "nbf": nbf,
        "sub": sub,
        "aud": [aef_id],
        "iss": iss,
        "jti": jti,
        "cnf": cnf,
    });
    let Value::Object(mut all) = all else {
        return None;
    };
    all.retain(|_, value| !value.is_null());
    Some(Value::Object(all))
}

/// `GET /.well-known/oauth-authorization-server`. The token endpoint is one for each invoker: its id takes the place of the braces.
pub(crate) fn metadata(call: Call) -> Answer {
    Box::pin(async move {
        let root = &call.core.api_root;
        let metadata = json!({
            "issuer": root,
            "token_endpoint": format!("{root}/capif-security/v1/securities/{{securityId}}/token"),
            "jwks_uri": format!("{root}/.well-known/jwks.json"),
            "introspection_endpoint": format!("{root}/capif-token-introspection/v1/introspect"),
            "introspection_endpoint_auth_methods_supported": ["tls_client_auth"],
            "response_types_supported": [],
            "grant_types_supported": AccessTokenReq::GRANT_TYPES.get(..1),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "tls_client_certificate_bound_access_tokens": call.core.config.security.certificate_bound_tokens,
            "service_documentation": "https://www.3gpp.org/DynaReport/29222.htm",
        });
        json_answer(StatusCode::OK, &metadata)
    })
}
