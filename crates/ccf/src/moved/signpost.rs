//! What stands at the doors of a core function that has moved.

use std::{sync::Arc, time::Duration};

use capif_spec::common::ProblemDetails;
use capif_transport::{Body, Connection, Handler, SharedClock, full, hear_out};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    api::{
        self,
        operations::{BodyKind, Routes},
        problem::ApiError,
    },
    compat, random,
};

/// What cannot stand in a query as it is (RFC 3986 section 3.4), and what a header cannot carry.
const NOT_IN_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'#');

/// Which door of the core function somebody knocks at.
pub(super) enum Door {
    Capif(Routes),
    Accounts,
    Revocation,
    Operator,
    Health,
}

impl Door {
    fn interface(&self) -> &'static str {
        match self {
            Self::Capif(_) => "CAPIF-1-5",
            Self::Accounts => "accounts",
            Self::Revocation => "revocation",
            Self::Operator => "operator",
            Self::Health => "management",
        }
    }
}

/// What stands at one door.
pub(super) struct Signpost {
    /// The beginning of every address at the new place.
    pub(super) to: String,
    pub(super) door: Door,
    pub(super) permanent: bool,
    pub(super) compat: bool,
    pub(super) body_bytes_max: usize,
    pub(super) body_time: Duration,
    pub(super) clock: SharedClock,
}

impl Signpost {
    async fn answer(
        &self,
        request: Request<Body>,
        request_id: &str,
    ) -> Result<Response<Body>, ApiError> {
        let (mut parts, body) = request.into_parts();
        match &self.door {
            Door::Health => return self.health(&parts.method, &parts.uri),
            Door::Operator => {
                return Err(ApiError::Moved {
                    to: self.to.clone(),
                });
            }
            Door::Capif(routes) => {
                if self.compat {
                    parts.uri = compat::target(parts.uri);
                }
                api::check_target(&parts.method, &parts.uri)?;
                let (operation, _) = routes.operation(&parts.method, parts.uri.path())?;
                // Heard out, so that no end of the connection overtakes the answer.
                if operation.body != BodyKind::None {
                    self.hear_out(body).await?;
                }
            }
            Door::Accounts | Door::Revocation => {
                if !parts.uri.path().starts_with('/') {
                    return Err(ApiError::AmbiguousPath);
                }
                self.hear_out(body).await?;
            }
        }
        self.send_on(&parts.uri, request_id)
    }

    /// Reads a body within bounds; what it says is for the new place.
    async fn hear_out(&self, body: Body) -> Result<(), ApiError> {
        let max = self.body_bytes_max;
        let heard = hear_out(body, max, self.body_time).await;
        heard.map_err(|error| api::body_refused(&error, max))
    }

    /// The same path and query at the new address. Of what was asked, nothing can change where that is.
    fn send_on(&self, asked: &Uri, request_id: &str) -> Result<Response<Body>, ApiError> {
        let query = asked.query().map_or_else(String::new, |query| {
            format!("?{}", utf8_percent_encode(query, NOT_IN_QUERY))
        });
        let location = format!("{}{}{query}", self.to, asked.path());
        let location = HeaderValue::try_from(&location).map_err(|_| ApiError::AmbiguousPath)?;
        let status = match self.permanent {
            true => StatusCode::PERMANENT_REDIRECT,
            false => StatusCode::TEMPORARY_REDIRECT,
        };
        let mut problem = ProblemDetails {
            title: status.canonical_reason().map(str::to_owned),
            status: Some(status.as_u16()),
            detail: Some(format!(
                "this core function has moved: ask for the same at {}",
                self.to
            )),
            ..ProblemDetails::default()
        };
        problem
            .extra
            .insert("requestId".to_owned(), request_id.to_owned().into());
        let body = serde_json::to_vec(&problem).map_err(ApiError::Encoding)?;
        let mut response = Response::new(full(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::LOCATION, location);
        Ok(response)
    }

    /// It is alive, and ready for all that it still does.
    fn health(&self, method: &Method, uri: &Uri) -> Result<Response<Body>, ApiError> {
        if !matches!(uri.path(), "/livez" | "/readyz") {
            return Err(ApiError::UnknownPath);
        }
        if method != Method::GET {
            return Err(ApiError::MethodNotAllowed {
                allowed: vec![Method::GET],
            });
        }
        Ok(Response::new(full(format!("moved to {}\n", self.to))))
    }
}

impl Handler for Signpost {
    async fn handle(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let started = self.clock.now();
        let method = request.method().clone();
        let request_id = random::id("").unwrap_or_default();
        let outcome = self.answer(request, &request_id).await;
        let (mut response, cause) = match outcome {
            Ok(response) => (response, None),
            Err(error) => (error.answer(&request_id), Some(error.log())),
        };
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::try_from(request_id.as_str()) {
            headers.insert("x-request-id", value);
        }
        // Whoever may keep the new address keeps it by itself; what lies in between has no part in it.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let duration = self.clock.now() - started;
        tracing::info!(
            target: "capif::request",
            request_id,
            interface = self.door.interface(),
            remote = %connection.remote,
            caller = "-",
            operation = "moved",
            %method,
            status = response.status().as_u16(),
            duration_us = i64::try_from(duration.whole_microseconds()).unwrap_or(i64::MAX),
            cause = cause.as_deref().unwrap_or(""),
        );
        response
    }
}
