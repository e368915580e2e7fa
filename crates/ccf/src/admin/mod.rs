//! The operator's API, which the commands of `capif` speak. It has two doors: a Unix socket in the CCF's folder that only the folder's
//! owner can open, so that there is no password to set, to default or to leak (P-37); and a listener of its own, where each operator
//! has a credential with a name and an end.

mod access;
mod accounts;
mod audit;
mod authority;
mod description;
mod discovery;
mod enrolments;
mod hiding;
mod lists;
mod network;
mod operations;
mod operators;
mod parties;
mod renewals;
mod retention;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use capif_procedures::refusal::Refusal;
use capif_transport::{Body, BodyError, Connection, Handler, collect};
use http::{HeaderMap, HeaderValue, Request, Response, header};

pub use self::{
    access::{ApiChoice, NewPolicy, OldPolicy, Permitted, Revoked, TimeRange, Verdict},
    accounts::{AccountName, Enrolled, EnrolledAs, NewPassword, Purge},
    audit::Heads,
    authority::{Authorities, GenerationStatus, Roll, Rotate, TokenKeyStatus},
    discovery::{Audience, DiscoveryRule, Scope, Sought},
    enrolments::{Approval, Decision, Rejection},
    hiding::{NewHiding, OldHiding, WhatIsHidden},
    operators::{NewOperator, OperatorStatus, OperatorToken},
    parties::{DomainBundle, EnrolmentParts, NewBundle, NewInvite, NewProvider},
    renewals::{Asked, NewRenewals},
    retention::{NewRetention, OldRetention},
};
use self::{
    network::Network,
    operations::{Call, Operation, Routes, TABLES, query_refusal},
};
use crate::{
    api::{is_canonical, operations::TableError, parse_query, problem::ApiError},
    audit::{OPERATOR, Operator},
    core::Core,
    random,
};

/// The name of the socket within the CCF's folder.
pub const SOCKET: &str = "operator.sock";

/// The type of every body.
const MEDIA_TYPE: &str = "application/json";

/// The largest request.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The handler of the operator's API, by one of its doors.
pub struct Admin {
    core: Arc<Core>,
    routes: Routes,
    /// What stands between it and the network; none for the socket in the folder.
    network: Option<Network>,
}

impl Admin {
    /// For the socket in the folder: who can open it is the operator.
    pub(crate) fn in_the_folder(core: Arc<Core>) -> Result<Self, TableError> {
        let routes = Routes::new(TABLES)?;
        Ok(Self {
            core,
            routes,
            network: None,
        })
    }

    /// For the network: who holds a credential speaks for the operator.
    pub(crate) fn over_the_network(
        core: Arc<Core>,
        hosts: Vec<String>,
    ) -> Result<Self, TableError> {
        let network = Some(Network::new(hosts));
        Ok(Self {
            network,
            ..Self::in_the_folder(core)?
        })
    }

    async fn answer(
        &self,
        request: Request<Body>,
        connection: &Connection,
        operator: &mut Operator,
    ) -> Result<Response<Body>, ApiError> {
        let (parts, body) = request.into_parts();
        let identify = || match &self.network {
            None => Ok(None),
            Some(network) => network
                .identify(&self.core, &parts.headers, connection)
                .map(Some),
        };
        if let Some(network) = &self.network {
            network.check(&parts.uri, &parts.headers)?;
        }
        let holder = identify()?;
        operator.name = holder.as_ref().map(|holder| holder.name.clone());
        let path = parts.uri.path();
        if !is_canonical(path) {
            return Err(ApiError::AmbiguousPath);
        }
        let (operation, path) = self.routes.find(&parts.method, path)?;
        if let Some(holder) = &holder {
            holder.may(operation)?;
        }
        let query = known_query(operation, parts.uri.query().unwrap_or_default())?;
        check_media_type(operation, &parts.headers)?;
        let body = read(operation, body).await?;
        // The body took its time: a credential that was removed meanwhile is none.
        if let Some(holder) = identify()? {
            holder.may(operation)?;
        }
        let call = Call {
            core: Arc::clone(&self.core),
            path,
            query,
            body,
        };
        // What has begun is brought to its end even when the operator goes away meanwhile.
        tokio::spawn(OPERATOR.scope(operator.clone(), (operation.handler)(call)))
            .await
            .map_err(|_| ApiError::Internal("the operation ended early"))?
    }
}

/// The parameters of a query, if the operation knows them all.
fn known_query(operation: &Operation, text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let query = parse_query(text)?;
    for (name, _) in &query {
        if !operation.query.iter().any(|(known, _)| known == name) {
            let known: Vec<&str> = operation.query.iter().map(|(known, _)| *known).collect();
            let reason = match known.as_slice() {
                [] => "this operation takes no query parameters".to_owned(),
                known => format!("the parameters here are: {}", known.join(", ")),
            };
            return Err(query_refusal(name, reason));
        }
    }
    Ok(query)
}

async fn read(operation: &Operation, body: Body) -> Result<Bytes, ApiError> {
    if operation.body.is_empty() {
        return Ok(Bytes::new());
    }
    collect(body, BODY_BYTES_MAX, BODY_TIMEOUT)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge { .. } => ApiError::BodyTooLarge {
                max: BODY_BYTES_MAX,
            },
            _ => ApiError::BodyIncomplete,
        })
}

/// A form in a web page cannot send this type.
fn check_media_type(operation: &Operation, headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    if operation.body.is_empty()
        || given.is_some_and(|given| given.trim().eq_ignore_ascii_case(MEDIA_TYPE))
    {
        return Ok(());
    }
    Err(ApiError::MediaType {
        expected: MEDIA_TYPE,
        patch: false,
    })
}

impl Handler for Admin {
    async fn handle(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let mut operator = Operator {
            name: None,
            request_id: random::id("").unwrap_or_default(),
        };
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let outcome = self.answer(request, &connection, &mut operator).await;
        if let (Some(_), Err(error)) = (&self.network, &outcome)
            && let Some(act) = network::noteworthy(error, &operator, &path, &connection)
        {
            self.core.note_refusal(act).await;
        }
        let request_id = &operator.request_id;
        let (mut response, cause) = match outcome {
            Ok(response) => (response, None),
            Err(error) => (error.answer(request_id), Some(error.log())),
        };
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::try_from(request_id.as_str()) {
            headers.insert("x-request-id", value);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.network.is_some() {
            network::guard(headers);
        }
        let caller = match (&self.network, &operator.name) {
            (Some(_), None) => "unknown".to_owned(),
            _ => operator.to_string(),
        };
        tracing::info!(
            target: "capif::request",
            request_id,
            interface = "operator",
            remote = %connection.remote,
            caller,
            operation = path,
            %method,
            status = response.status().as_u16(),
            cause = cause.as_deref().unwrap_or(""),
        );
        response
    }
}
