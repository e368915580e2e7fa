//! Connections to API exposing functions over CAPIF-2/2e.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use capif_spec::{
    aef_security::CheckAuthenticationReq,
    common::{AefId, ApiInvokerId, SupportedFeatures},
};
use capif_transport::{Anchors, Client, ClientLimits, Identity, SharedClock, collect, full};
use http::{Request, header};

use super::{KNOWN_APIS_MAX, psk::Key};
use crate::{ccf, discovery::Route, error::Error};

/// How long an AEF may take to hear that an invoker is coming.
const ANNOUNCEMENT_TIME: Duration = Duration::from_secs(3);

const ANNOUNCEMENT_BYTES_MAX: usize = 64 << 10;

/// Clients of API exposing functions. By certificate and by token they are verified against the same roots as the core function,
/// each by its own id, and see our certificate if they ask for one: for Method 2, and for Method 3 over mutual TLS (D-29). By
/// key both ends prove themselves with it.
pub(super) struct Aefs {
    pub(super) anchors: Anchors,
    pub(super) identity: Identity,
    pub(super) clock: SharedClock,
    pub(super) clients: Mutex<HashMap<AefId, Client>>,
}

impl Aefs {
    /// For Methods 2 and 3.
    pub(super) fn client(&self, id: &AefId) -> Result<Client, Error> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(id) {
            return Ok(client.clone());
        }
        let client = ccf::aef_client(
            self.anchors.clone(),
            Some(self.identity.clone()),
            self.clock.clone(),
            id,
            ClientLimits::default(),
        )?;
        if clients.len() >= KNOWN_APIS_MAX {
            clients.clear();
        }
        clients.insert(id.clone(), client.clone());
        Ok(client)
    }

    /// For Method 1. Before the first handshake with a new key the AEF is told who is coming, so that it can ask for the key
    /// beforehand (TS 33.122 clause 6.5.2.1, TS 29.222 clause 6.2.2.2). It may just as well ask when the handshake is there, so
    /// that nothing depends on it.
    pub(super) async fn client_by_key(
        &self,
        key: &Key,
        route: &Route,
        invoker: &ApiInvokerId,
    ) -> Result<Client, Error> {
        let client = key.client().ok_or_else(|| {
            Error::Usage(
                "the key that was agreed on cannot be used: negotiate the security method anew"
                    .to_owned(),
            )
        })?;
        let mut announced = key.announced.lock().await;
        if !*announced {
            *announced = true;
            if let Err(error) = self.announce(route, invoker).await {
                tracing::debug!(aef = %route.aef_id, error, "the AEF was not told of a new key");
            }
        }
        Ok(client)
    }

    /// `check-authentication`, over TLS in which the AEF that is meant proves itself and the invoker does not yet.
    async fn announce(&self, route: &Route, invoker: &ApiInvokerId) -> Result<(), String> {
        let limits = ClientLimits {
            idle_per_host_max: 0,
            response_head: ANNOUNCEMENT_TIME,
            ..ClientLimits::default()
        };
        let (anchors, clock) = (self.anchors.clone(), self.clock.clone());
        let client = ccf::aef_client(anchors, None, clock, &route.aef_id, limits)
            .map_err(|error| error.to_string())?;
        let content = CheckAuthenticationReq {
            api_invoker_id: invoker.clone(),
            supported_features: SupportedFeatures::from("0"),
            extra: Default::default(),
        };
        let content = serde_json::to_vec(&content).map_err(|error| error.to_string())?;
        let request = Request::post(format!(
            "https://{}/aef-security/v1/check-authentication",
            route.address
        ))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, application/problem+json")
        .body(full(content))
        .map_err(|error| error.to_string())?;
        let response = client
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status();
        collect(
            response.into_body(),
            ANNOUNCEMENT_BYTES_MAX,
            ANNOUNCEMENT_TIME,
        )
        .await
        .map_err(|error| error.to_string())?;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("it answered {}", status.as_u16()))
        }
    }
}
