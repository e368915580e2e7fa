//! What the gateway serves itself on its listener: messages of the CCF, which proves itself by its certificate.
//!
//! - Notifications of the events that the gateway subscribed to. The gateway first forgets and tears down, then acknowledges
//!   (TS 33.122 clause 6.8 steps 8 to 10).
//! - AEF_Security_API (TS 29.222 clause 9.1): `revoke-authorization`; `check-authentication` is not served yet.

use std::{sync::Arc, time::Duration};

use capif_spec::{
    aef_security::{RevokeAuthorizationReq, RevokeAuthorizationRsp},
    common::{ApiInvokerId, SubscriptionId, SupportedFeatures},
    events::{CapifEvent, EventNotification},
    json,
};
use capif_transport::{Body, Closing, Connection, Connections, Peer, collect, empty, full};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use crate::{answer::Denial, contexts::Contexts};

/// Where notifications are taken.
pub(crate) const NOTIFICATIONS: &str = "/capif-events/v1/notifications";

/// The path of AEF_Security_API.
const AEF_SECURITY: &str = "/aef-security/v1/";

/// The organizational unit of the CCF's certificate.
const CCF_UNIT: &str = "CCF";

/// The largest message.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What the CCF's messages act on.
pub(crate) struct OwnApi {
    pub(crate) contexts: Arc<Contexts>,
    /// The gateway's own subscription: others may have theirs sent here, which is none of its business.
    pub(crate) subscription: SubscriptionId,
}

/// Whether a path is the gateway's own.
pub(crate) fn is_own(path: &str) -> bool {
    path == NOTIFICATIONS || path.starts_with(AEF_SECURITY)
}

impl OwnApi {
    /// Answers a message to the gateway itself.
    pub(crate) async fn answer(
        &self,
        request: Request<Body>,
        connection: &Connection,
        connections: &Connections,
    ) -> Result<Response<Body>, Denial> {
        let (parts, body) = request.into_parts();
        if parts.uri.path() == "/aef-security/v1/check-authentication" {
            return Err(Denial::NotServed);
        }
        if !is_ccf(&connection.peer) {
            return Err(Denial::CcfOnly);
        }
        if parts.method != Method::POST {
            return Err(Denial::Method);
        }
        let body = collect(body, BODY_BYTES_MAX, Duration::from_secs(10))
            .await
            .map_err(|_| Denial::Malformed)?;
        match parts.uri.path() {
            NOTIFICATIONS => {
                let notification: EventNotification =
                    json::from_slice(&body).map_err(|_| Denial::Malformed)?;
                if notification.subscription_id != self.subscription {
                    return Err(Denial::UnknownApi);
                }
                self.take(&notification, connections);
                let mut response = Response::new(empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
            "/aef-security/v1/revoke-authorization" => {
                let request: RevokeAuthorizationReq =
                    json::from_slice(&body).map_err(|_| Denial::Malformed)?;
                self.drop_invoker(&request.revoke_info.api_invoker_id, connections);
                let answer = RevokeAuthorizationRsp {
                    supported_features: SupportedFeatures::from("0"),
                    extra: Default::default(),
                };
                let mut response =
                    Response::new(full(serde_json::to_vec(&answer).unwrap_or_default()));
                response.headers_mut().insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/json"),
                );
                Ok(response)
            }
            _ => Err(Denial::UnknownApi),
        }
    }

    /// Does what an event asks for. Whoever is named is forgotten and loses the connections; an event that names nobody makes
    /// the gateway forget everyone, and ask again.
    fn take(&self, notification: &EventNotification, connections: &Connections) {
        let invokers = notification
            .event_detail
            .as_ref()
            .and_then(|detail| detail.api_invoker_ids.as_deref())
            .unwrap_or_default();
        tracing::info!(event = %notification.events, ?invokers, "event of the CAPIF core function");
        match &notification.events {
            CapifEvent::ApiInvokerOffboarded | CapifEvent::ApiInvokerAuthorizationRevoked
                if !invokers.is_empty() =>
            {
                for invoker in invokers {
                    self.drop_invoker(invoker, connections);
                }
            }
            _ => self.contexts.forget_all(),
        }
    }

    /// TS 33.122 clause 6.8 steps 8 and 9.
    fn drop_invoker(&self, invoker: &ApiInvokerId, connections: &Connections) {
        self.contexts.forget(invoker);
        let closed = connections.close(
            |connection| belongs_to(connection, invoker.as_str()),
            Closing::Now,
        );
        tracing::info!(%invoker, connections = closed, "an API invoker was dropped");
    }
}

fn is_ccf(peer: &Peer) -> bool {
    match peer {
        Peer::Certificate(certificate) => {
            certificate.organizational_unit.as_deref() == Some(CCF_UNIT)
        }
        Peer::Anonymous => false,
    }
}

fn belongs_to(connection: &Connection, invoker: &str) -> bool {
    let by_certificate = match &connection.peer {
        Peer::Certificate(certificate) => certificate.common_name == invoker,
        Peer::Anonymous => false,
    };
    by_certificate || connection.claimed_by() == Some(invoker)
}
