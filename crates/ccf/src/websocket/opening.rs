//! `GET /capif-websocket/v1/{subscriberId}/{resourceId}`: the opening handshake (RFC 6455 section 4.2).

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use capif_procedures::{delivery, refusal::Refusal};
use capif_transport::{Connection, Takeover, empty};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::session;
use crate::{
    api::{self, Answer, Call, problem::ApiError},
    core::Core,
    view::Records,
};

/// What the key of the request is joined with (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Opens a WebSocket, if the resource has one and it is asked for in the right way.
pub(crate) fn open(call: Call) -> Answer {
    Box::pin(async move {
        let (subscriber, resource) = (call.parameter(0).to_owned(), call.parameter(1).to_owned());
        if !has_websocket(&call.core.view.read(), &subscriber, &resource) {
            return Err(Refusal::NotFound { what: "WebSocket" }.into());
        }
        let key = key_of(&call.headers).ok_or(ApiError::UpgradeRequired)?;
        let accept = HeaderValue::try_from(accept(key)).map_err(|_| ApiError::UpgradeRequired)?;

        let core = Arc::clone(&call.core);
        let connection = Arc::clone(&call.connection);
        let name = format!("{subscriber}/{resource}");
        let takeover = Takeover::new(move |stream, leaving| {
            let (listed, outgoing) = core.sockets.list(&name);
            let may_stay = move || may_stay(&core, &connection, &subscriber, &resource);
            session::serve(stream, leaving, outgoing, listed, may_stay)
        });
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.extensions_mut().insert(takeover);
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        Ok(response)
    })
}

/// Whether notifications of a resource go over a WebSocket.
fn has_websocket(records: &Records, subscriber: &str, resource: &str) -> bool {
    let held = match resource {
        delivery::ONBOARDING => records
            .invoker(subscriber)
            .and_then(|held| held.record.websocket_uri.as_ref()),
        delivery::SECURITY => records
            .context(subscriber)
            .and_then(|held| held.record.websocket_uri.as_ref()),
        _ => records.subscription(subscriber, resource).and_then(|held| {
            let config = held.record.subscription.websock_notif_config.as_ref();
            config.and_then(|config| config.websocket_uri.as_ref())
        }),
    };
    held.is_some()
}

/// Whether a socket may stay open: the resource still has it, and the certificate behind it still is the subscriber's.
fn may_stay(core: &Core, connection: &Connection, subscriber: &str, resource: &str) -> bool {
    let caller = api::identify(core, connection);
    let is_subscriber =
        caller.is_ok_and(|found| found.caller.id() == Some(subscriber) && !found.is_restricted());
    is_subscriber && has_websocket(&core.view.read(), subscriber, resource)
}

/// The key of a request that asks for the upgrade as it must: version 13, and a key of 16 octets.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let upgrades = lists(headers, header::UPGRADE, "websocket")
        && lists(headers, header::CONNECTION, "upgrade")
        && headers
            .get(header::SEC_WEBSOCKET_VERSION)
            .is_some_and(|version| version == "13");
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys.next()?.to_str().ok()?.trim();
    let octets = BASE64_STANDARD.decode(key).ok()?;
    (upgrades && keys.next().is_none() && octets.len() == 16).then_some(key)
}

/// Whether a field that holds a list names a word.
fn lists(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

fn accept(key: &str) -> String {
    let joined = format!("{key}{GUID}");
    // The protocol's own choice: it proves that the request was understood, and protects nothing.
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, joined.as_bytes());
    BASE64_STANDARD.encode(digest.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (
                    header::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn the_answer_is_that_of_the_standard() {
        // RFC 6455 section 1.3.
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(accept(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_upgrade_is_asked_for_whole() {
        let good = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert!(key_of(&headers(&good)).is_some());
        for missing in 0..good.len() {
            let mut fields = good.to_vec();
            fields.remove(missing);
            assert_eq!(key_of(&headers(&fields)), None, "without {missing}");
        }
        for (index, wrong) in [(0, "h2c"), (1, "close"), (2, "8"), (3, "AAAA"), (3, "%")] {
            let mut fields = good.to_vec();
            fields[index].1 = wrong;
            assert_eq!(key_of(&headers(&fields)), None, "{wrong}");
        }
    }
}
