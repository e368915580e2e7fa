//! What every operation works with.

use std::sync::{Arc, OnceLock};

use capif_procedures::{
    changes::{Changes, Key, Kind},
    refusal::Refusal,
    security_method::Policy,
    state::{Callback, SecurityContext},
};
use capif_spec::common::DateTime;
use capif_transport::{Closing, Connection, Connections, Peer, SharedClock};

use crate::{
    api::problem::ApiError,
    authority::{Authority, tokens::SigningKey},
    config::Config,
    credential::{CredentialVerifier, Issuer},
    sealing::SealingKey,
    store::{CommitError, Store},
    view::{Lane, Records, View},
};

/// How often a decision is made anew because records moved under it.
pub(crate) const ATTEMPTS_MAX: usize = 100;

/// How many notifications may wait for one invoker.
const CALLBACKS_MAX: usize = 100;

/// The parts of a CCF, each made once and handed to whoever needs them.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) api_root: String,
    /// The CCF's own names beyond this machine's, which nobody else is certified for.
    pub(crate) reserved_hosts: Vec<String>,
    pub(crate) clock: SharedClock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) view: Arc<View>,
    pub(crate) authority: Authority,
    pub(crate) access_tokens: SigningKey,
    pub(crate) sealing: SealingKey,
    /// What the operator allows by configuration.
    pub(crate) policy: Policy,
    pub(crate) credentials: Issuer,
    pub(crate) verifiers: Vec<Box<dyn CredentialVerifier>>,
    pub(crate) secret_failures: crate::api::failures::Failures,
    pub(crate) allowances: crate::api::allowances::Allowances,
    /// Set once the listener is up.
    pub(crate) connections: OnceLock<Arc<Connections>>,
}

impl Core {
    pub(crate) fn now(&self) -> DateTime {
        DateTime(self.clock.now())
    }

    /// Decides on the records as they are, commits, and decides anew when they moved meanwhile. What `decide` returns beside
    /// the changes is the answer.
    pub(crate) async fn transact<T>(
        &self,
        mut decide: impl FnMut(&Records) -> Result<(Changes, T), Refusal>,
    ) -> Result<T, ApiError> {
        for _ in 0..ATTEMPTS_MAX {
            let (changes, answer) = {
                let records = self.view.read();
                decide(&records)?
            };
            if changes.is_empty() {
                return Ok(answer);
            }
            match self.store.commit(changes).await {
                Ok(_) => return Ok(answer),
                Err(CommitError::Conflict(key)) => {
                    if let Some(refusal) = meaning(&key) {
                        return Err(refusal.into());
                    }
                }
                Err(CommitError::Fault(fault)) => return Err(fault.into()),
            }
        }
        Err(ApiError::Busy)
    }

    /// Commits what was decided on nothing that could move.
    pub(crate) async fn commit(&self, changes: Changes) -> Result<(), ApiError> {
        match self.store.commit(changes).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict(key)) => {
                Err(meaning(&key).map_or(ApiError::Busy, ApiError::from))
            }
            Err(CommitError::Fault(fault)) => Err(fault.into()),
        }
    }

    /// Whether an invoker is told of a revocation: the operator lets callbacks go there, and not too many wait already.
    pub(crate) fn calls_back(&self, records: &Records, context: &SecurityContext) -> bool {
        let lane = Lane::new(
            Kind::Callback,
            Callback::prefix(context.invoker_id.as_str()),
        );
        self.config
            .callbacks
            .allows(context.notification_destination.as_str())
            && records.waiting_in(&lane) < CALLBACKS_MAX
    }

    /// Closes the connections of an entity that is gone, but for the one that still carries the answer.
    pub(crate) fn close_connections_of(&self, id: &str, but: Option<&Connection>) {
        let Some(connections) = self.connections.get() else {
            return;
        };
        let but = but.map(|connection| connection.id);
        connections.close(
            |connection| Some(connection.id) != but && is_of(&connection.peer, id),
            Closing::Now,
        );
    }
}

fn is_of(peer: &Peer, id: &str) -> bool {
    match peer {
        Peer::Certificate(certificate) => certificate.common_name == id,
        Peer::Anonymous | Peer::Psk(_) => false,
    }
}

/// Conflicts that no repetition can mend, in the words of the rule behind them.
fn meaning(key: &Key) -> Option<Refusal> {
    match key.kind {
        Kind::CredentialUse | Kind::RegisteredCredential => Some(Refusal::CredentialUsed),
        Kind::ServiceApiName => Some(Refusal::ApiNameTaken),
        _ => None,
    }
}
