//! The operations of the operator's API: the table that router, rights and description come from.
//!
//! A route exists because a row says so, and the row says what is needed for it. Each module of this API has its own rows;
//! [`TABLES`] puts them together.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use capif_procedures::refusal::{Refusal, RequestFault};
use capif_spec::json;
use capif_transport::Body;
use http::{Method, Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    api::{self, Answer, operations::TableError, problem::ApiError},
    core::Core,
};

/// All rows: those of one module beside those of the next.
pub(super) const TABLES: &[&[Operation]] = &[
    super::description::OPERATIONS,
    super::lists::OPERATIONS,
    super::parties::OPERATIONS,
    super::enrolments::OPERATIONS,
    super::access::OPERATIONS,
    super::discovery::OPERATIONS,
    super::hiding::OPERATIONS,
    super::retention::OPERATIONS,
    super::renewals::OPERATIONS,
    super::authority::OPERATIONS,
    super::audit::OPERATIONS,
    super::operators::OPERATIONS,
    super::accounts::OPERATIONS,
];

/// What an operation needs whoever asks for it to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    /// To look at what is there.
    Read,
    /// To change it.
    Write,
}

/// By which door an operation can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// By the socket in the folder and over the network.
    Any,
    /// By the socket in the folder alone.
    Folder,
}

/// Names of query parameters or of the members of a body, each with what it says.
pub(super) type Names = &'static [(&'static str, &'static str)];

/// The code of an operation.
pub(super) type Handler = fn(Call) -> Answer;

/// One operation.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// The path, parameters in braces.
    pub(super) path: &'static str,
    pub(super) right: Right,
    pub(super) door: Door,
    /// What it does, in a line.
    pub(super) what: &'static str,
    /// The query parameters that it knows; others are refused.
    pub(super) query: Names,
    /// The members of its body; none means that it takes no body.
    pub(super) body: Names,
    pub(super) handler: Handler,
}

impl Operation {
    /// A row that looks at something.
    pub(super) const fn get(path: &'static str, what: &'static str, handler: Handler) -> Self {
        Self {
            method: "GET",
            path,
            right: Right::Read,
            door: Door::Any,
            what,
            query: &[],
            body: &[],
            handler,
        }
    }

    /// A row that changes something.
    pub(super) const fn post(path: &'static str, what: &'static str, handler: Handler) -> Self {
        Self {
            method: "POST",
            right: Right::Write,
            ..Self::get(path, what, handler)
        }
    }

    /// A row that removes something.
    pub(super) const fn delete(path: &'static str, what: &'static str, handler: Handler) -> Self {
        Self {
            method: "DELETE",
            right: Right::Write,
            ..Self::get(path, what, handler)
        }
    }

    /// The same, not to be had over the network.
    pub(super) const fn in_the_folder(self) -> Self {
        Self {
            door: Door::Folder,
            ..self
        }
    }

    /// The same with query parameters.
    pub(super) const fn query(self, query: Names) -> Self {
        Self { query, ..self }
    }

    /// The same with a JSON body of these members.
    pub(super) const fn body(self, body: Names) -> Self {
        Self { body, ..self }
    }
}

/// One request that may go on.
pub(super) struct Call {
    pub(super) core: Arc<Core>,
    /// The values of the path's parameters in order.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Call {
    /// A parameter of the path; the route guarantees it.
    pub(super) fn parameter(&self, index: usize) -> &str {
        self.path.get(index).map_or("", String::as_str)
    }

    /// A query parameter.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter();
        let (_, value) = pairs.find(|(known, _)| known == name)?;
        Some(value)
    }

    /// A query parameter that is a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, Refusal> {
        let parsed = self.query(name).map(str::parse).transpose();
        parsed.map_err(|_| query_refusal(name, format!("`{name}` is a number")))
    }

    /// The body.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        json::from_slice(&self.body)
            .map_err(|error| Refusal::incorrect(error.pointer, error.reason))
    }
}

/// An operation that answers 200 with what `run` returns.
pub(super) fn answer<T, F>(run: F) -> Answer
where
    T: Serialize,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    Box::pin(async move { api::json_answer(StatusCode::OK, &run.await?) })
}

/// The same with another status.
pub(super) fn answer_with<T, F>(status: StatusCode, run: F) -> Answer
where
    T: Serialize,
    F: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    Box::pin(async move { api::json_answer(status, &run.await?) })
}

/// An operation that answers 204.
pub(super) fn done<F>(run: F) -> Answer
where
    F: Future<Output = Result<(), ApiError>> + Send + 'static,
{
    Box::pin(async move { run.await.map(|()| api::no_content()) })
}

/// A query parameter that is not as it must be.
pub(super) fn query_refusal(name: &str, reason: impl Into<String>) -> Refusal {
    Refusal::Malformed {
        pointer: name.to_owned(),
        reason: reason.into(),
        fault: RequestFault::Query,
    }
}

/// A finished answer, for operations that make their own.
pub(super) type Finished = Result<Response<Body>, ApiError>;

/// Finds the operations of a path.
pub(super) struct Routes(matchit::Router<Vec<&'static Operation>>);

impl Routes {
    /// Builds the routes of the tables.
    pub(super) fn new(tables: &[&'static [Operation]]) -> Result<Self, TableError> {
        let mut paths: Vec<(&'static str, Vec<&'static Operation>)> = Vec::new();
        for operation in tables.iter().copied().flatten() {
            match paths.iter_mut().find(|(path, _)| *path == operation.path) {
                Some((_, known)) if known.iter().any(|known| known.method == operation.method) => {
                    return Err(TableError::Route(operation.path));
                }
                Some((_, known)) => known.push(operation),
                None => paths.push((operation.path, vec![operation])),
            }
        }
        let mut router = matchit::Router::new();
        for (path, operations) in paths {
            router
                .insert(path, operations)
                .map_err(|_| TableError::Route(path))?;
        }
        Ok(Self(router))
    }

    /// The operation of a method at a path, with the values of the path's parameters.
    pub(super) fn find(
        &self,
        method: &Method,
        path: &str,
    ) -> Result<(&'static Operation, Vec<String>), ApiError> {
        let found = self.0.at(path).map_err(|_| ApiError::UnknownPath)?;
        let operation = found
            .value
            .iter()
            .find(|operation| operation.method == method.as_str())
            .ok_or_else(|| ApiError::MethodNotAllowed {
                allowed: found
                    .value
                    .iter()
                    .filter_map(|operation| operation.method.parse().ok())
                    .collect(),
            })?;
        let values = found.params.iter();
        Ok((
            operation,
            values.map(|(_, value)| value.to_owned()).collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_starts_and_says_what_each_row_does() {
        assert!(Routes::new(TABLES).is_ok());
        for operation in TABLES.iter().copied().flatten() {
            assert!(!operation.what.is_empty(), "{}", operation.path);
            let looks = operation.method == "GET";
            assert_eq!(
                looks,
                operation.right == Right::Read,
                "{} {}: what changes nothing is a GET, and only that",
                operation.method,
                operation.path
            );
            assert!(looks || operation.query.is_empty(), "{}", operation.path);
            assert!(!looks || operation.body.is_empty(), "{}", operation.path);
        }
    }

    #[test]
    fn a_route_belongs_to_one_row() {
        const ROW: Operation = Operation::get("/twice", "looks", |_| {
            Box::pin(async { Ok(api::no_content()) })
        });
        const TABLE: &[Operation] = &[ROW, ROW];
        assert!(matches!(
            Routes::new(&[TABLE]),
            Err(TableError::Route("/twice"))
        ));
        let routes = Routes::new(&[&TABLE[..1]]).unwrap();
        assert!(routes.find(&Method::GET, "/twice").is_ok());
        assert!(matches!(
            routes.find(&Method::POST, "/twice"),
            Err(ApiError::MethodNotAllowed { allowed }) if allowed == [Method::GET]
        ));
        assert!(matches!(
            routes.find(&Method::GET, "/once"),
            Err(ApiError::UnknownPath)
        ));
    }
}
