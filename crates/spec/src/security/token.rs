//! Access tokens: request, answer, error and claims (TS 29.222 clauses 8.5.4.2.6 to 8.5.4.2.9, RFC 6749).

use serde::{Deserialize, Serialize};

use crate::{
    checked::{self, Checked, Violation},
    common::{Extra, Redacted},
    json::present,
};

/// The request for an access token. It is a form, not JSON, and its names are those of RFC 6749 section 4.4.2, with a few
/// of TS 29.222 in between. What it does not name is ignored (RFC 6749 section 3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessTokenReq {
    /// The grant asked for. A text, since a server answers what it does not serve with a code of its own.
    pub grant_type: String,
    /// The API invoker's id.
    pub client_id: String,
    /// The resource owner for whom the token is wanted: the JSON text of a [`ResOwnerId`].
    #[serde(
        rename = "resOwnerId",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub res_owner_id: Option<String>,
    /// The Onboard_Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Redacted>,
    /// What the token is wanted for; see [`Scope`](super::Scope).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The code that the resource owner's consent gave.
    #[serde(rename = "authCode", default, skip_serializing_if = "Option::is_none")]
    pub auth_code: Option<Redacted>,
    /// Where the code was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
}

impl AccessTokenReq {
    /// The grants that TS 29.222 names.
    pub const GRANT_TYPES: &'static [&'static str] = &["client_credentials", "authorization_code"];
}

/// The answer with an access token (TS 29.222 clause 8.5.4.2.7, RFC 6749 section 5.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessTokenRsp {
    /// The token, a signed JWT in compact form.
    pub access_token: Redacted,
    /// How the token is used: [`AccessTokenRsp::BEARER`], in any spelling (RFC 6749 section 5.1).
    pub token_type: String,
    /// For how many seconds from now it is good.
    pub expires_in: u64,
    /// What it is good for.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub scope: Option<String>,
    /// Members that the schema does not name; they are kept as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

impl AccessTokenRsp {
    /// The only type of token there is (RFC 6750).
    pub const BEARER: &'static str = "Bearer";
}

/// The answer without an access token (TS 29.222 clause 8.5.4.2.9, RFC 6749 section 5.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessTokenErr {
    /// Why there is none.
    pub error: AccessTokenError,
    /// A text for people.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub error_description: Option<String>,
    /// A page for people.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub error_uri: Option<String>,
    /// Members that the schema does not name; they are kept as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

open_enumeration! {
    /// Why there is no token (RFC 6749 section 5.2). The schema's list is closed; a receiver reads others all the same, since
    /// RFC 6749 section 8.5 lets extensions add some.
    pub enum AccessTokenError {
        /// The request is malformed.
        InvalidRequest = "invalid_request",
        /// The client did not prove who it is.
        InvalidClient = "invalid_client",
        /// The code or credential is no good.
        InvalidGrant = "invalid_grant",
        /// The client may not use this grant.
        UnauthorizedClient = "unauthorized_client",
        /// The server does not serve this grant.
        UnsupportedGrantType = "unsupported_grant_type",
        /// The scope is malformed, unknown, or beyond what the client may have.
        InvalidScope = "invalid_scope",
    }
}

/// What an access token says (TS 29.222 clause 8.5.4.2.8, TS 33.122 clause C.2.2, RFC 7519 section 4.1).
///
/// The schema asks for `iss`, `scope` and `exp`; TS 33.122 adds `client_id`; the others are this product's. A claim that is
/// there must have its JSON type. Claims not named here are not kept, since nobody decides on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// The API invoker's id: TS 29.222 names the invoker as issuer.
    pub iss: String,
    /// The API invoker's id.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub sub: Option<String>,
    /// The AEFs that the token is for.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub aud: Option<Vec<String>>,
    /// The API invoker's id.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub client_id: Option<String>,
    /// Which APIs at which AEFs the token opens; see [`Scope`](super::Scope).
    pub scope: String,
    /// When it was issued, in seconds since 1970.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub iat: Option<i64>,
    /// From when on it is good, in seconds since 1970.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub nbf: Option<i64>,
    /// When it ends, in seconds since 1970. The schema calls it a duration; RFC 7519 section 4.1.4 makes it a date.
    pub exp: i64,
    /// The token's own id.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub jti: Option<String>,
    /// The number of the authorization that it comes from; one more after each revocation.
    #[serde(
        rename = "gen",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub generation: Option<u64>,
    /// The resource owner for whom the invoker acts.
    #[serde(
        rename = "resOwnerId",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub res_owner_id: Option<ResOwnerId>,
    /// What the bearer proves to hold besides; nothing if absent (RFC 7800 section 3.1).
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub cnf: Option<Confirmation>,
}

/// What the bearer of a token proves to hold: the certificate with this digest, in the handshake of the connection that the
/// token comes over (RFC 8705 section 3.1). A confirmation of another kind is not read, and the token with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// SHA-256 of the certificate as DER, in base64url without padding.
    #[serde(rename = "x5t#S256")]
    pub x5t_s256: String,
}

object! {
    /// A resource owner; `gpsi` is the only form so far and must be there.
    #[derive(Default)]
    pub struct ResOwnerId {
        /// Generic public subscription identifier (TS 29.571).
        pub gpsi: Option<String>,
    }
}

impl Checked for ResOwnerId {
    fn check(&self) -> Result<(), Violation> {
        checked::at_least_one(&[("gpsi", self.gpsi.is_some())])
    }
}

#[cfg(test)]
mod tests;
