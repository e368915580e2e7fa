//! The gateway's own answers: problems in the form of TS 29.222 clause 7.7.

use std::time::Duration;

use capif_spec::{common::ProblemDetails, publish_service::SecurityMethod};
use capif_transport::{Body, full};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

/// Why a call is not let through, and what the caller can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    /// The path can be read in more than one way.
    #[error("the path is not in canonical form")]
    AmbiguousPath,
    /// The method is for proxies.
    #[error("this method is not served")]
    Method,
    /// Neither certificate nor token.
    #[error(
        "prove who you are: negotiate the security method with the CAPIF core function, then use your certificate or an access token"
    )]
    NoCredential,
    /// More than one credential, or one in a place that is not the Authorization header.
    #[error("present exactly one access token, in the Authorization header")]
    ManyCredentials,
    /// The token does not verify.
    #[error("the access token is not valid: ask the CAPIF core function for a new one")]
    InvalidToken,
    /// The token's time has passed.
    #[error("the access token has expired: ask the CAPIF core function for a new one")]
    ExpiredToken,
    /// Certificate and token name different invokers.
    #[error("certificate and access token are not those of one API invoker")]
    Contradiction,
    /// Another invoker used this connection before.
    #[error("this connection belongs to another API invoker: open a new one")]
    ForeignConnection,
    /// The certificate is of somebody who is no invoker here.
    #[error("the certificate is not that of a known API invoker")]
    UnknownInvoker,
    /// The context names another method (D-20).
    #[error(
        "this API invoker is to use another security method here: ask the CAPIF core function which"
    )]
    MethodMismatch,
    /// The key of the connection is no longer one of the invoker's.
    #[error(
        "the key of this connection has expired or been replaced: ask the CAPIF core function for a new one"
    )]
    DeadKey,
    /// The certificate of the connection is not one of the invoker's that count.
    #[error(
        "the certificate of this connection has been replaced or taken back: connect with the one that the CAPIF core function issued last"
    )]
    DeadCertificate,
    /// The interface takes a token beside a certificate only (D-29).
    #[error("this interface asks for your certificate beside the access token")]
    NoCertificate,
    /// The API is not granted.
    #[error("this API is not granted to the caller")]
    NotGranted,
    /// The policy has ranges of time, and now is in none.
    #[error("the access control policy lets no call through at this time")]
    NotNow,
    /// The policy's rate is used up.
    #[error("more calls than the access control policy allows within a second")]
    RateExceeded {
        /// When the next call may come.
        after: Duration,
    },
    /// The policy's total is used up.
    #[error("as many calls as the access control policy allows in all have been made")]
    TotalExhausted,
    /// There is no such API.
    #[error("no such API is exposed here")]
    UnknownApi,
    /// The request's body is not framed as it should be, or ended early.
    #[error("the body of the request cannot be read to its end: check its length and chunks")]
    BodyBroken,
    /// The CCF cannot be asked.
    #[error("the caller's authorization cannot be checked at the moment")]
    Unchecked,
    /// The API cannot be reached.
    #[error("the API behind this gateway cannot be reached")]
    UpstreamDown,
    /// The API does not answer.
    #[error("the API behind this gateway did not answer in time")]
    UpstreamSlow,
    /// Too many questions from one address.
    #[error("too many questions from this address: ask again later")]
    TooManyQuestions,
    /// For the CCF alone, and nobody has shown who asks.
    #[error("this resource is for the CAPIF core function: show its certificate")]
    NobodyKnown,
    /// For the CCF alone.
    #[error("this resource is for the CAPIF core function")]
    CcfOnly,
    /// A notification or request of the CCF that makes no sense.
    #[error("the message is not one that can be understood")]
    Malformed,
    /// The body is of another kind.
    #[error("send the body as application/json")]
    MediaType,
    /// The gateway's own resources take one method.
    #[error("this resource takes POST alone")]
    PostOnly,
    /// The body is over the limit.
    #[error("the body is too large")]
    TooLarge,
    /// There is no body where there must be one.
    #[error("this resource takes a body: send one, with its `Content-Length`")]
    LengthMissing,
}

impl Denial {
    /// The status code.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::AmbiguousPath | Self::ManyCredentials | Self::BodyBroken | Self::Malformed => {
                StatusCode::BAD_REQUEST
            }
            Self::Method | Self::PostOnly => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::LengthMissing => StatusCode::LENGTH_REQUIRED,
            Self::NoCredential
            | Self::NobodyKnown
            | Self::InvalidToken
            | Self::ExpiredToken
            | Self::Contradiction
            | Self::UnknownInvoker
            | Self::MethodMismatch
            | Self::DeadKey
            | Self::DeadCertificate
            | Self::NoCertificate => StatusCode::UNAUTHORIZED,
            Self::ForeignConnection => StatusCode::MISDIRECTED_REQUEST,
            Self::NotGranted | Self::NotNow | Self::CcfOnly => StatusCode::FORBIDDEN,
            Self::RateExceeded { .. } | Self::TotalExhausted | Self::TooManyQuestions => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::UnknownApi => StatusCode::NOT_FOUND,
            Self::Unchecked => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamDown => StatusCode::BAD_GATEWAY,
            Self::UpstreamSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    fn cause(&self) -> Option<&'static str> {
        match self {
            Self::MethodMismatch => Some("SECURITY_METHOD_MISMATCH"),
            Self::DeadKey => Some("SECURITY_KEY_INVALID"),
            Self::RateExceeded { .. } | Self::TotalExhausted => Some("OVERLIMIT_USAGE"),
            Self::AmbiguousPath => Some("INVALID_API"),
            Self::BodyBroken | Self::Malformed | Self::MediaType => Some("INVALID_MSG_FORMAT"),
            Self::TooLarge | Self::LengthMissing => Some("INCORRECT_LENGTH"),
            Self::TooManyQuestions => Some("NF_CONGESTION_RISK"),
            Self::PostOnly => Some("INVALID_API"),
            Self::UnknownApi => Some("RESOURCE_URI_STRUCTURE_NOT_FOUND"),
            _ => None,
        }
    }

    /// The challenge of RFC 6750 section 3, or of D-20.
    fn challenge(&self, methods: &[SecurityMethod]) -> Option<&'static str> {
        match self {
            Self::NoCredential => Some("Bearer"),
            Self::InvalidToken
            | Self::ExpiredToken
            | Self::Contradiction
            | Self::UnknownInvoker
            | Self::DeadCertificate => Some("Bearer error=\"invalid_token\""),
            Self::NotGranted => Some("Bearer error=\"insufficient_scope\""),
            Self::ManyCredentials => Some("Bearer error=\"invalid_request\""),
            Self::NoCertificate => Some("Bearer error=\"invalid_token\""),
            Self::MethodMismatch if methods.contains(&SecurityMethod::Oauth) => Some("Bearer"),
            Self::MethodMismatch | Self::DeadKey | Self::NobodyKnown => Some("CAPIF"),
            _ => None,
        }
    }

    /// After how many seconds it may help to try again (RFC 9110 section 10.2.3).
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Unchecked | Self::TooManyQuestions => Some(1),
            Self::RateExceeded { after } => Some(
                after
                    .as_secs()
                    .saturating_add(u64::from(after.subsec_nanos() > 0))
                    .max(1),
            ),
            _ => None,
        }
    }

    /// The answer. `methods` are those that the API is published with.
    pub(crate) fn answer(&self, methods: &[SecurityMethod], request_id: &str) -> Response<Body> {
        let status = self.status();
        let mut problem = ProblemDetails {
            title: status.canonical_reason().map(str::to_owned),
            status: Some(status.as_u16()),
            detail: Some(self.to_string()),
            cause: self.cause().map(str::to_owned),
            ..ProblemDetails::default()
        };
        problem
            .extra
            .insert("requestId".to_owned(), request_id.into());
        if *self == Self::MethodMismatch {
            let methods = methods
                .iter()
                .map(|method| Value::from(method.as_str()))
                .collect();
            problem.extra.insert("supportedMethods".to_owned(), methods);
        }
        let mut response = Response::new(full(serde_json::to_vec(&problem).unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge(methods) {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        if *self == Self::PostOnly {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
