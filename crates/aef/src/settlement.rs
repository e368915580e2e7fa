//! The end of connections that have lost their right: what a handshake has proved once is no more than what the core function
//! says now.

use std::sync::{Arc, OnceLock};

use capif_spec::common::ApiInvokerId;
use capif_transport::{Closing, Connection, Connections, Peer, SharedClock};
use time::OffsetDateTime;

use crate::{
    contexts::{Authorization, Contexts, Endings},
    proof::{belongs_to, owners},
};

/// Ends connections of the listener.
pub(crate) struct Settlement {
    pub(crate) contexts: Arc<Contexts>,
    /// Those of the listener, once it serves.
    pub(crate) connections: Arc<OnceLock<Arc<Connections>>>,
    pub(crate) endings: Arc<Endings>,
    pub(crate) clock: SharedClock,
    pub(crate) api_name: String,
}

impl Settlement {
    /// Ends what an invoker has no longer a right to, by what is asked about it now. Of an invoker about whom there is nothing to
    /// tell, that is everything.
    pub(crate) async fn compare(&self, invoker: ApiInvokerId) {
        let invoker = &invoker;
        let before = self.contexts.recall(invoker).flatten();
        // Who cannot be asked about for too long has no right either.
        let known = self.contexts.renewed(invoker).await.unwrap_or_default();
        let Some(authorization) = known.filter(|known| known.concerns(&self.api_name)) else {
            self.contexts.forget(invoker);
            self.close(invoker, Closing::Now, |_| true);
            return;
        };
        let taken_away = before.is_some_and(|before| before.generation < authorization.generation);
        let now = self.clock.now();
        self.close(invoker, Closing::AfterResponses, |connection| {
            taken_away || !is_current(connection, &authorization, now)
        });
    }

    /// The same for an invoker of which something has changed, be it a certificate: what runs is finished, and a new negotiation
    /// alone ends nothing, so that who still uses a key of before can be told by an answer. If it cannot be asked about just now,
    /// its next call is refused until it can.
    pub(crate) async fn follow(&self, invoker: ApiInvokerId) {
        let invoker = &invoker;
        self.contexts.forget(invoker);
        let is_here = |connection: &Arc<Connection>| belongs_to(connection, invoker.as_str());
        let connections = self.connections.get().map(|connections| connections.live());
        if !connections.iter().flatten().any(is_here) {
            return;
        }
        let Ok(known) = self.contexts.renewed(invoker).await else {
            return;
        };
        let known = known.filter(|known| known.concerns(&self.api_name));
        let now = self.clock.now();
        self.close(invoker, Closing::AfterResponses, |connection| {
            known.as_ref().is_none_or(|known| {
                connection.peer.certificate().is_some() && !is_current(connection, known, now)
            })
        });
    }

    /// Ends connections whose certificate or key has come to its end.
    pub(crate) fn end_outlived(&self) {
        let now = self.clock.now();
        for invoker in self.endings.past(now) {
            let Some(known) = self.contexts.recall(&invoker).flatten() else {
                continue;
            };
            self.close(&invoker, Closing::AfterResponses, |connection| {
                !is_current(connection, &known, now)
            });
        }
    }

    /// The invokers that are connected.
    pub(crate) fn connected(&self) -> std::collections::BTreeSet<ApiInvokerId> {
        let connections = self.connections.get().map(|connections| connections.live());
        let connections = connections.iter().flatten();
        connections
            .flat_map(|connection| owners(connection).collect::<Vec<_>>())
            .collect()
    }

    /// Ends connections of an invoker, and says how many they were.
    pub(crate) fn close(
        &self,
        invoker: &ApiInvokerId,
        closing: Closing,
        which: impl Fn(&Connection) -> bool,
    ) -> usize {
        let closed = self.connections.get().map_or(0, |connections| {
            connections.close(
                |connection| belongs_to(connection, invoker.as_str()) && which(connection),
                closing,
            )
        });
        if closed > 0 {
            tracing::info!(%invoker, connections = closed, "connections of an API invoker are ended");
        }
        closed
    }
}

impl Authorization {
    /// Whether it is about an API, be it with a method that has changed since.
    fn concerns(&self, api_name: &str) -> bool {
        self.methods.contains_key(api_name) || self.outdated.contains(api_name)
    }
}

/// Whether key or certificate of a connection are still the invoker's.
fn is_current(connection: &Connection, authorization: &Authorization, now: OffsetDateTime) -> bool {
    match &connection.peer {
        Peer::Anonymous => true,
        Peer::Certificate(certificate) => {
            let certificates = authorization.certificates.as_ref();
            let fingerprint = certificate.fingerprint.to_string();
            certificates.is_none_or(|certificates| certificates.count(&fingerprint, now))
        }
        Peer::Psk(psk) => authorization.key(&psk.identity, now).is_some(),
    }
}
