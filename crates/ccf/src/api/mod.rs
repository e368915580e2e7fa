//! The edge of CAPIF-1/1e, 3, 4 and 5: from a request to one operation and back.
//!
//! In this order: path, route, caller, whose id the path carries, body, operation. What fails answers a problem and changes
//! nothing.

pub mod failures;
pub mod health;
pub mod identity;
pub mod operations;
pub mod problem;

mod access_control;
pub(crate) mod allowances;
mod auditing;
mod discovery;
mod events;
pub(crate) mod handed_over;
mod invocation_log;
pub(crate) mod issues;
mod jwks;
mod noteworthy;
mod onboarding;
mod open_discovery;
mod publication;
mod query;
pub(crate) mod registration;
mod renewal;
mod security;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use capif_procedures::refusal::{Refusal, RequestFault};
use capif_spec::{
    common::DateTime,
    json::{self, JsonErrorKind},
};
use capif_transport::{
    Body, BodyError, Connection, Handler as TransportHandler, collect, empty, full,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};

use self::{
    identity::{Caller, Identified, Shown},
    operations::{BodyKind, CallerKind, OPERATIONS, Operation, PathOwner, Routes, TableError},
    problem::ApiError,
};
use crate::{audit::Act, core::Core, random};

/// The answer of an operation on its way.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, ApiError>> + Send>>;

/// The code of an operation.
pub(crate) type Handler = fn(Call) -> Answer;

/// One request that may go on: its caller is known and allowed.
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    /// The id of the operation in the table.
    pub(crate) operation: &'static str,
    pub(crate) request_id: String,
    pub(crate) caller: Caller,
    /// What the caller showed for itself, if anything.
    pub(crate) shown: Option<Shown>,
    pub(crate) connection: Arc<Connection>,
    /// The values of the path's parameters in order.
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) now: DateTime,
}

impl Call {
    /// What the request does to something, for the audit trail.
    pub(crate) fn act(&self, subject: impl Into<String>) -> Act {
        Act::by_caller(&self.caller, self.operation, &self.request_id, subject)
    }

    /// A parameter of the path; the route guarantees it.
    pub(crate) fn parameter(&self, index: usize) -> &str {
        self.path.get(index).map_or("", String::as_str)
    }

    /// The body as a type of the standard.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        json::from_slice(&self.body).map_err(|error| Refusal::Malformed {
            reason: error.reason.clone(),
            pointer: error.pointer.clone(),
            fault: match error.kind {
                JsonErrorKind::MissingMember => RequestFault::Missing,
                JsonErrorKind::WrongType => RequestFault::Incorrect,
                _ => RequestFault::Format,
            },
        })
    }

    /// The body as a type of the standard, with its rules checked.
    pub(crate) fn checked<T: DeserializeOwned + capif_spec::common::Checked>(
        &self,
    ) -> Result<T, Refusal> {
        let value: T = self.json()?;
        value
            .check()
            .map_err(|violation| Refusal::incorrect(violation.pointer, violation.reason))?;
        Ok(value)
    }

    /// A query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The one bearer credential of the request (RFC 6750 section 2.1).
    pub(crate) fn bearer(&self) -> Result<&str, Refusal> {
        bearer(&self.headers)
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::CredentialMissing)?;
    if values.next().is_some() {
        return Err(Refusal::CredentialRefused);
    }
    let text = value.to_str().map_err(|_| Refusal::CredentialRefused)?;
    let (scheme, credential) = text.split_once(' ').ok_or(Refusal::CredentialMissing)?;
    let credential = credential.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || credential.is_empty() {
        return Err(Refusal::CredentialMissing);
    }
    Ok(credential)
}

/// An answer with a JSON body.
pub(crate) fn json_answer(
    status: StatusCode,
    body: &impl Serialize,
) -> Result<Response<Body>, ApiError> {
    let body = serde_json::to_vec(body).map_err(ApiError::Encoding)?;
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// 201 with the address of what was made.
pub(crate) fn created(
    core: &Core,
    path: &str,
    body: &impl Serialize,
) -> Result<Response<Body>, ApiError> {
    let mut response = json_answer(StatusCode::CREATED, body)?;
    let location = HeaderValue::try_from(format!("{}{path}", core.api_root))
        .map_err(|_| ApiError::Internal("location"))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// 204.
pub(crate) fn no_content() -> Response<Body> {
    let mut response = Response::new(capif_transport::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The handler of the CCF's listener.
pub struct Api {
    core: Arc<Core>,
    routes: Routes,
}

impl Api {
    pub(crate) fn new(core: Arc<Core>) -> Result<Self, TableError> {
        let routes = Routes::new(OPERATIONS)?;
        Ok(Self { core, routes })
    }

    async fn answer(
        &self,
        request: Request<Body>,
        connection: &Arc<Connection>,
        line: &mut RequestLine,
    ) -> Result<Response<Body>, ApiError> {
        if connection.is_closing() || connection.claimed_by().is_some() {
            return Err(ApiError::SessionOver);
        }
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if !is_canonical(path) {
            return Err(ApiError::AmbiguousPath);
        }
        let (operations, values) = self.routes.find(path).ok_or(ApiError::UnknownPath)?;
        let operation = operations
            .iter()
            .find(|operation| operation.method == parts.method)
            .ok_or_else(|| ApiError::MethodNotAllowed {
                allowed: operations
                    .iter()
                    .map(|operation| operation.method.clone())
                    .collect(),
            })?;
        line.operation = operation.id;
        line.subject = values.first().cloned().unwrap_or_default();
        let enrols = [
            CallerKind::OnboardingCredential,
            CallerKind::RegistrationCredential,
        ];
        let session_end = if operation.callers.iter().any(|kind| enrols.contains(kind)) {
            // Of requests that come at once over HTTP/2, the one that claims the session is answered.
            if !connection.claim(&line.request_id) {
                return Err(ApiError::SessionOver);
            }
            Some(SessionEnd(Arc::clone(connection)))
        } else {
            None
        };
        // A session that is about to end is heard out first: an end that overtakes the rest of a request takes the answer
        // with it.
        let (early, body) = match session_end {
            Some(_) => (Some(self.read(operation, body).await?), empty()),
            None => (None, body),
        };

        let caller = self.identify(connection);
        line.caller = caller
            .as_ref()
            .map_or_else(|_| "unknown".to_owned(), |found| found.caller.to_string());
        allow(operation, caller, &parts.headers, &values)?;
        let handler = operation.handler.ok_or(ApiError::NotServed)?;

        let query = parse_query(parts.uri.query().unwrap_or_default())?;
        if let (false, Some((name, _))) = (parts.method == Method::GET, query.first()) {
            // Only a GET takes parameters here, and only there may unknown ones be ignored (TS 29.500 clause 5.2.9).
            return Err(Refusal::Malformed {
                pointer: name.clone(),
                reason: "this operation takes no query parameters".to_owned(),
                fault: RequestFault::Query,
            }
            .into());
        }
        check_media_type(operation.body, &parts.headers)?;
        let body = match early {
            Some(body) => body,
            None => self.read(operation, body).await?,
        };
        // The body took its time: whoever was offboarded meanwhile is nobody now.
        let judge = || {
            let caller = self.identify(connection);
            allow(operation, caller, &parts.headers, &values)
        };
        let mut found = judge()?;
        // What is seen for the first time takes effect first, by a commit of its own.
        if renewal::takes_effect(&self.core, &found, line).await? {
            found = judge()?;
        }
        let call = Call {
            core: Arc::clone(&self.core),
            operation: operation.id,
            request_id: line.request_id.clone(),
            caller: found.caller,
            shown: found.shown,
            connection: Arc::clone(connection),
            path: values,
            query,
            headers: parts.headers,
            body,
            now: self.core.now(),
        };
        // What has begun is brought to its end even when the caller goes away meanwhile.
        tokio::spawn(handler(call))
            .await
            .map_err(|_| ApiError::Internal("the operation ended early"))?
    }

    /// Reads the body of an operation that takes one, within bounds.
    async fn read(&self, operation: &Operation, body: Body) -> Result<Bytes, ApiError> {
        if operation.body == BodyKind::None {
            return Ok(Bytes::new());
        }
        let limits = &self.core.config.limits;
        let time = Duration::from_secs(u64::from(limits.body_seconds_max));
        collect(body, limits.body_bytes_max, time)
            .await
            .map_err(|error| match error {
                BodyError::TooLarge { .. } => ApiError::BodyTooLarge {
                    max: limits.body_bytes_max,
                },
                _ => ApiError::BodyIncomplete,
            })
    }

    fn identify(&self, connection: &Connection) -> Result<Identified, Refusal> {
        let records = self.core.view.read();
        let (terms, now) = (self.core.terms(), self.core.now());
        let found = identity::identify(&connection.peer, &records, &terms, &now)?;
        // The end of an overlap reaches open connections too.
        let authorities = &self.core.authorities;
        match &found.shown {
            Some(shown) if authorities.is_retired(shown.authority, &now) => {
                Err(Refusal::CertificateUnknown)
            }
            _ => Ok(found),
        }
    }
}

/// The session of enrolment, which belongs to one request and ends with its answer, good or bad (TS 33.122 clause B.1). It is not
/// told to end before: a client that hears of the end while it still sends may give its request up.
struct SessionEnd(Arc<Connection>);

impl Drop for SessionEnd {
    fn drop(&mut self) {
        self.0.close_after_response();
    }
}

/// Lets a caller through to an operation, or says why not. Nothing is looked up by what the request names.
fn allow(
    operation: &Operation,
    found: Result<Identified, Refusal>,
    headers: &HeaderMap,
    values: &[String],
) -> Result<Identified, Refusal> {
    if operation.callers.contains(&CallerKind::Anyone) {
        return Ok(found.unwrap_or_else(|_| Identified::anonymous()));
    }
    let by_credential = operation.callers.iter().any(|kind| {
        matches!(
            kind,
            CallerKind::OnboardingCredential | CallerKind::RegistrationCredential
        )
    });
    if by_credential {
        bearer(headers)?;
        return Ok(Identified::anonymous());
    }
    let found = found?;
    let caller = &found.caller;
    let kind = caller.kind().ok_or(Refusal::CertificateRequired)?;
    if !operation.callers.contains(&kind) {
        let expected: Vec<&str> = operation.callers.iter().map(|kind| kind.as_str()).collect();
        return Err(Refusal::RoleNotAllowed {
            expected: expected.join(", "),
            presented: caller.to_string(),
        });
    }
    if operation.owner == PathOwner::Caller && values.first().map(String::as_str) != caller.id() {
        return Err(Refusal::NotTheCaller { place: "path" });
    }
    if found.is_restricted() && !operation.is_of_renewal() {
        return Err(Refusal::RenewalRequired);
    }
    Ok(found)
}

/// Whether a path has one reading only: no empty or dot segment, nothing encoded, no character that servers read differently.
fn is_canonical(path: &str) -> bool {
    path.starts_with('/')
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
        && path
            .split('/')
            .skip(1)
            .all(|segment| !segment.is_empty() && segment != "." && segment != "..")
}

fn parse_query(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    const PARAMETERS_MAX: usize = 64;
    let query = |pointer: &str, reason: &str| Refusal::Malformed {
        pointer: pointer.to_owned(),
        reason: reason.to_owned(),
        fault: RequestFault::Query,
    };
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(text).map_err(|_| query("", "the query is not readable"))?;
    if pairs.len() > PARAMETERS_MAX {
        return Err(query("", "the query has too many parameters"));
    }
    for (index, (name, _)) in pairs.iter().enumerate() {
        if pairs.iter().skip(index + 1).any(|(other, _)| other == name) {
            return Err(query(name, "the query names a parameter twice"));
        }
    }
    Ok(pairs)
}

fn check_media_type(body: BodyKind, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(expected) = body.media_type() else {
        return Ok(());
    };
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if given.is_some_and(|given| given.eq_ignore_ascii_case(expected)) {
        return Ok(());
    }
    Err(ApiError::MediaType {
        expected,
        patch: body == BodyKind::MergePatch,
    })
}

/// What the log line of a request tells.
struct RequestLine {
    request_id: String,
    operation: &'static str,
    caller: String,
    /// The first id in the path.
    subject: String,
}

impl TransportHandler for Api {
    async fn handle(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let started = self.core.clock.now();
        let method = request.method().clone();
        let mut line = RequestLine {
            request_id: random::id("").unwrap_or_default(),
            operation: "-",
            caller: "-".to_owned(),
            subject: String::new(),
        };
        let outcome = self.answer(request, &connection, &mut line).await;
        if let Err(error) = &outcome
            && let Some(act) = noteworthy::refused(error, &line, &connection)
        {
            self.core.note_refusal(act).await;
        }
        let (mut response, cause) = match outcome {
            Ok(response) => (response, None),
            Err(error) => (error.answer(&line.request_id), Some(error.log())),
        };
        if let Ok(value) = HeaderValue::try_from(line.request_id.as_str()) {
            response.headers_mut().insert("x-request-id", value);
        }
        // Answers carry keys, ids and tokens: no cache may keep them (RFC 6749 section 5.1).
        response
            .headers_mut()
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        let duration = self.core.clock.now() - started;
        tracing::info!(
            target: "capif::request",
            request_id = line.request_id,
            interface = "CAPIF-1-5",
            remote = %connection.remote,
            caller = line.caller,
            operation = line.operation,
            %method,
            status = response.status().as_u16(),
            duration_us = i64::try_from(duration.whole_microseconds()).unwrap_or(i64::MAX),
            cause = cause.as_deref().unwrap_or(""),
        );
        response
    }
}
