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
pub(crate) mod approval;
mod auditing;
mod discovery;
mod events;
pub(crate) mod handed_over;
mod introspection;
mod invocation_log;
pub(crate) mod issues;
mod jwks;
mod load;
mod noteworthy;
mod onboarding;
mod open_discovery;
mod preference;
mod presented;
mod publication;
mod query;
pub(crate) mod registration;
mod renewal;
mod routing;
mod rules;
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
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use self::rules::{check_target, is_canonical, parse_query};
use self::{
    identity::{Caller, Identified, Shown},
    load::Load,
    operations::{BodyKind, CallerKind, OPERATIONS, Operation, PathOwner, Routes, TableError},
    problem::ApiError,
};
use crate::{audit::Act, compat, core::Core, random};

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
            reason: error.to_string(),
            pointer: error.pointer,
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

pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
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
    Ok(json_text(status, body))
}

/// The same where the JSON is ready.
pub(crate) fn json_text(status: StatusCode, text: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
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
    load: Load,
}

impl Api {
    pub(crate) fn new(core: Arc<Core>) -> Result<Self, TableError> {
        let routes = Routes::new(OPERATIONS)?;
        let load = Load::new(&core.config.limits);
        Ok(Self { core, routes, load })
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
        let (mut parts, body) = request.into_parts();
        if self.core.config.is_lenient() {
            parts.uri = compat::target(parts.uri);
        }
        let routed = check_target(&parts.method, &parts.uri)
            .and_then(|()| self.routes.operation(&parts.method, parts.uri.path()));
        if let Ok((operation, values)) = &routed {
            line.operation = operation.id;
            line.callers = operation.callers;
            line.for_token = operation.id == "GetOAuthIndAPIInv";
            line.subject = values.first().cloned().unwrap_or_default();
        }
        // Whatever is asked for, and be it nothing that there is.
        let caller = self.identify(connection);
        let (peer, from) = (&connection.peer, connection.remote.ip());
        if let Err(error) = self.load.count(peer, from, caller.is_ok()) {
            line.caller = named(&caller);
            return Err(error);
        }
        let (operation, values) = routed?;
        self.load.look(operation.id)?;
        let enrols = [
            CallerKind::OnboardingCredential,
            CallerKind::RegistrationCredential,
        ];
        let length = rules::check_length(operation.body, &parts.headers, &body);
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
        line.caller = named(&caller);
        let first = allow(operation, caller, &parts.headers, &values)?;
        let handler = operation.handler;

        let mut query = rules::parameters(operation, parts.uri.query().unwrap_or_default())?;
        rules::check_accept(&parts.method, &parts.headers)?;
        length?;
        rules::check_media_type(operation.body, &parts.headers)?;
        let body = match early {
            Some(body) => body,
            None => self.read(operation, body).await?,
        };
        let place = self.load.begin(operation.id)?;
        let body = if self.core.config.is_lenient() {
            compat::query(&mut query);
            self.translated(operation, &values, body)
        } else {
            body
        };
        let judge = || {
            let caller = self.identify(connection);
            allow(operation, caller, &parts.headers, &values)
        };
        // A body took its time: whoever was offboarded meanwhile is nobody now.
        let mut found = match operation.body {
            BodyKind::None => first,
            _ => judge()?,
        };
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
        if parts.method == http::Method::GET {
            // Changes nothing that could be left half done.
            let answer = handler(call).await;
            drop(place);
            return answer;
        }
        let is_minimal = operation.is_update() && preference::is_minimal(&call.headers);
        // What has begun is brought to its end even when the caller goes away meanwhile.
        let done = tokio::spawn(async move {
            let answer = handler(call).await;
            drop(place);
            answer
        });
        let answer = done
            .await
            .map_err(|_| ApiError::Internal("the operation ended early"))??;
        Ok(match is_minimal {
            true => preference::minimal(answer),
            false => answer,
        })
    }

    /// A request of a deployed client in the words of TS 29.222.
    fn translated(&self, operation: &Operation, path: &[String], body: Bytes) -> Bytes {
        let records = self.core.view.read();
        let domain = path.first().and_then(|id| records.domain(id));
        let functions = domain
            .iter()
            .flat_map(|held| &held.record.functions)
            .filter_map(|id| records.function(id.as_str()))
            .map(|held| &held.record);
        compat::request(operation.id, body, &functions.collect::<Vec<_>>())
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
            .map_err(|error| body_refused(&error, limits.body_bytes_max))
    }

    fn identify(&self, connection: &Connection) -> Result<Identified, Refusal> {
        identify(&self.core, connection)
    }
}

/// What is wrong with a body that may have `max` bytes.
pub(crate) fn body_refused(error: &BodyError, max: usize) -> ApiError {
    match error {
        BodyError::TooLarge { .. } => ApiError::BodyTooLarge { max },
        _ => ApiError::BodyIncomplete,
    }
}

/// A caller as the log names it.
fn named(caller: &Result<Identified, Refusal>) -> String {
    match caller {
        Ok(found) => found.caller.to_string(),
        Err(_) => "unknown".to_owned(),
    }
}

/// Who is at the other end of a connection now.
pub(crate) fn identify(core: &Core, connection: &Connection) -> Result<Identified, Refusal> {
    let records = core.view.read();
    let (terms, now) = (core.terms(), core.now());
    let found = identity::identify(&connection.peer, &records, &terms, &now)?;
    // The end of an overlap reaches open connections too.
    match &found.shown {
        Some(shown) if core.authorities.is_retired(shown.authority, &now) => {
            Err(Refusal::CertificateUnknown)
        }
        _ => Ok(found),
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
        // Nobody needs to show a certificate; whoever shows one that does not count is told so where there is something to grant.
        return match operation.is_public() {
            true => Ok(found.unwrap_or_else(|_| Identified::anonymous())),
            false => found,
        };
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
        return Err(Refusal::RoleNotAllowed);
    }
    if operation.owner == PathOwner::Caller && values.first().map(String::as_str) != caller.id() {
        return Err(Refusal::NotTheCaller { place: "path" });
    }
    if found.is_restricted() && !operation.is_of_renewal() {
        return Err(Refusal::RenewalRequired);
    }
    Ok(found)
}

/// What the log line of a request tells.
struct RequestLine {
    request_id: String,
    operation: &'static str,
    /// Who may call it.
    callers: &'static [CallerKind],
    caller: String,
    /// The first id in the path.
    subject: String,
    /// Whether it is the token endpoint that was asked.
    for_token: bool,
}

impl TransportHandler for Api {
    async fn handle(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let started = self.core.clock.now();
        let method = request.method().clone();
        let mut line = RequestLine {
            request_id: random::id("").unwrap_or_default(),
            operation: "-",
            callers: &[],
            caller: "-".to_owned(),
            subject: String::new(),
            for_token: false,
        };
        let outcome = self.answer(request, &connection, &mut line).await;
        if let Err(error) = &outcome
            && let Some(act) = noteworthy::refused(error, &line, &connection)
        {
            self.core.note_refusal(act).await;
        }
        let (mut response, cause) = match outcome {
            Ok(response) => (response, None),
            Err(error) => {
                let told = presented::told(&error, line.callers, &connection.peer);
                let response = if line.for_token {
                    error.answer_of_tokens(&line.request_id, &told)
                } else {
                    error.answer_telling(&line.request_id, &told)
                };
                (response, Some(error.log()))
            }
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
