//! The handler of the listener: one request, its answer, and its line in the log.

use std::sync::Arc;

use capif_transport::{Body, Connection, Handler};
use http::{Request, Response};

use crate::{
    api::{self, OwnApi},
    config::Interface,
    invocation::Invocations,
};

/// What answers requests.
pub(crate) struct Edge {
    pub(crate) interface: Interface,
    pub(crate) invocations: Invocations,
    pub(crate) own: OwnApi,
}

impl Handler for Edge {
    async fn handle(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let clock = &self.invocations.clock;
        let started = clock.now();
        let request_id = request_id();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let (invoker, result) = if api::is_own(&path) {
            (None, self.own.answer(request, &connection).await)
        } else {
            let outcome = self
                .invocations
                .call(request, &connection, &request_id)
                .await;
            (outcome.invoker, outcome.result)
        };
        let (response, denial) = match result {
            Ok(response) => (response, None),
            Err(denial) => {
                let terms = self.invocations.publication.terms();
                (denial.answer(&terms.methods, &request_id), Some(denial))
            }
        };
        tracing::info!(
            target: "capif::request",
            request_id,
            interface = self.interface.as_str(),
            remote = %connection.remote,
            caller = invoker.as_ref().map_or("-", |invoker| invoker.as_str()),
            operation = shown(&path),
            method = shown(method.as_str()),
            status = response.status().as_u16(),
            duration_us = i64::try_from((clock.now() - started).whole_microseconds()).unwrap_or(i64::MAX),
            cause = denial.map(|denial| denial.to_string()).unwrap_or_default(),
        );
        response
    }
}

/// How much of a path or method a log line shows.
const SHOWN_CHARS_MAX: usize = 512;

/// A path or method for the log: whoever reads it on a terminal sees characters and no effects.
fn shown(path: &str) -> String {
    let mut text = String::new();
    for character in path.chars().take(SHOWN_CHARS_MAX) {
        if character.is_ascii_graphic() {
            text.push(character);
        } else {
            text.extend(character.escape_unicode());
        }
    }
    text
}

/// A name for a request that nobody else has.
fn request_id() -> String {
    let mut octets = [0; 16];
    if aws_lc_rs::rand::fill(&mut octets).is_err() {
        return String::new();
    }
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
