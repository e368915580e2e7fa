//! What the account service answers.

use capif_spec::common::ProblemDetails;
use capif_transport::{Body, empty, full};
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::passwords::PasswordError;
use crate::{api::problem::ApiError, random::NoRandomness, store::Fault};

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    /// It cannot be read, or says what cannot be.
    #[error("{0}")]
    Malformed(String),
    /// The body did not come, or is too large.
    #[error("the body is larger than 16 KiB, or did not arrive whole in time")]
    Body,
    /// Nobody signed in; the scheme that is asked for.
    #[error("sign in with `Authorization: {0} …`; a token may have ended")]
    SignIn(&'static str),
    /// Name or password is wrong.
    #[error("name or password is wrong")]
    Wrong,
    /// Too many wrong passwords: the seconds to wait.
    #[error("too many wrong passwords: wait, then try again")]
    Wait(u64),
    /// This account may not, or nobody may here.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The name is another's.
    #[error("this name is taken")]
    Taken,
    /// There is no room.
    #[error("there are as many accounts as there may be")]
    Full,
    /// There is no such user.
    #[error("there is no such user")]
    NoUser,
    /// There is nothing at this path.
    #[error("there is nothing at this path of the account service")]
    UnknownPath,
    /// The path takes other methods.
    #[error("this path takes {0}")]
    Method(&'static str),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The core function failed.
    #[error(transparent)]
    Core(#[from] ApiError),
}

impl From<Fault> for AccountError {
    fn from(fault: Fault) -> Self {
        Self::Core(fault.into())
    }
}

impl From<NoRandomness> for AccountError {
    fn from(error: NoRandomness) -> Self {
        Self::Core(error.into())
    }
}

impl AccountError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::Body | Self::Password(PasswordError::Unfit) => {
                StatusCode::BAD_REQUEST
            }
            Self::SignIn(_) | Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::Wait(_) | Self::Password(PasswordError::Busy) => StatusCode::TOO_MANY_REQUESTS,
            Self::Forbidden(_) | Self::Full => StatusCode::FORBIDDEN,
            Self::Taken => StatusCode::CONFLICT,
            Self::NoUser | Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Password(PasswordError::Failed) | Self::Core(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The answer.
    pub(super) fn answer(&self, request_id: &str) -> Response<Body> {
        if let Self::Core(error) = self {
            return error.answer(request_id);
        }
        let status = self.status();
        let problem = ProblemDetails {
            title: status.canonical_reason().map(str::to_owned),
            status: Some(status.as_u16()),
            detail: Some(self.to_string()),
            ..ProblemDetails::default()
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(full(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::SignIn("Bearer") => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::SignIn(_) | Self::Wrong => {
                let value = HeaderValue::from_static("Basic realm=\"capif\"");
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
            Self::Wait(seconds) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            Self::Password(PasswordError::Busy) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Method(allowed) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            _ => {}
        }
        response
    }
}

/// An answer with a JSON body, which no cache keeps.
pub(super) fn answer(status: StatusCode, body: &Value) -> Result<Response<Body>, AccountError> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// 204.
pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
