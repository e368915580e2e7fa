//! What every operation works with.

use std::sync::{Arc, OnceLock};

use capif_procedures::{
    changes::{Changes, Key, Kind},
    offboarding::Leave,
    refusal::Refusal,
    rotation::Terms,
    security_method::Policy,
    state::{Callback, DepartureReason, Digest},
};
use capif_spec::common::{ApiInvokerId, DateTime, Uri};
use capif_transport::{Closing, Connection, Connections, Peer, SharedClock};

use crate::{
    api::problem::ApiError,
    audit::{Act, Trail},
    authority::{Authorities, presence::Presence, tokens::TokenRing},
    config::Config,
    credential::{CredentialVerifier, Issuer},
    destination::Content,
    revocation::Revocation,
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
    /// The id of this core function.
    pub(crate) ccf_id: String,
    /// The CCF's own names beyond this machine's, which nobody else is certified for.
    pub(crate) reserved_hosts: Vec<String>,
    pub(crate) clock: SharedClock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) view: Arc<View>,
    pub(crate) trail: Arc<Trail>,
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) presence: Presence,
    pub(crate) revocation: Arc<Revocation>,
    pub(crate) access_tokens: Arc<TokenRing>,
    pub(crate) sealing: Arc<SealingKey>,
    /// What the operator allows by configuration.
    pub(crate) policy: Policy,
    pub(crate) credentials: Issuer,
    pub(crate) verifiers: Vec<Box<dyn CredentialVerifier>>,
    pub(crate) secret_failures: crate::api::failures::Failures,
    pub(crate) issues: crate::api::issues::Issues,
    /// How often providers were told of criteria in requests of which nothing came.
    pub(crate) denials: crate::api::issues::Issues,
    pub(crate) account_sessions: crate::account::Sessions,
    pub(crate) allowances: crate::api::allowances::Allowances,
    pub(crate) log_book: crate::log_book::LogBook,
    /// The WebSockets that are open.
    pub(crate) sockets: Arc<crate::websocket::Sockets>,
    /// Where nothing is sent, as far as the log has said so.
    pub(crate) untold: crate::destination::Untold,
    /// Set once the listener is up.
    pub(crate) connections: OnceLock<Arc<Connections>>,
}

impl Core {
    pub(crate) fn now(&self) -> DateTime {
        DateTime(self.clock.now())
    }

    /// Decides on the records as they are, commits, and decides anew when they moved meanwhile. What `decide` returns beside
    /// the changes is the answer. The act is recorded with the changes; where there are none, nothing was done.
    pub(crate) async fn transact<T>(
        &self,
        act: &Act,
        decide: impl FnMut(&Records) -> Result<(Changes, T), Refusal>,
    ) -> Result<T, ApiError> {
        self.settle(Some(act), decide).await
    }

    /// The same for what is no security-relevant act, and too frequent for a record: counting, acknowledging, tidying up.
    pub(crate) async fn tend<T>(
        &self,
        decide: impl FnMut(&Records) -> Result<(Changes, T), Refusal>,
    ) -> Result<T, ApiError> {
        self.settle(None, decide).await
    }

    async fn settle<T>(
        &self,
        act: Option<&Act>,
        mut decide: impl FnMut(&Records) -> Result<(Changes, T), Refusal>,
    ) -> Result<T, ApiError> {
        for _ in 0..ATTEMPTS_MAX {
            let (mut changes, answer) = {
                let records = self.view.read();
                decide(&records)?
            };
            if changes.is_empty() {
                return Ok(answer);
            }
            if let Some(act) = act {
                act.record(&mut changes, self.now());
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

    /// Commits what was decided on nothing that could move, with the record of the act: that alone if there are no changes.
    pub(crate) async fn commit(&self, act: &Act, mut changes: Changes) -> Result<(), ApiError> {
        act.record(&mut changes, self.now());
        self.housekeep(changes).await
    }

    /// The same for what is no security-relevant act.
    pub(crate) async fn housekeep(&self, changes: Changes) -> Result<(), ApiError> {
        match self.store.commit(changes).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict(key)) => {
                Err(meaning(&key).map_or(ApiError::Busy, ApiError::from))
            }
            Err(CommitError::Fault(fault)) => Err(fault.into()),
        }
    }

    /// What the operator allows of renewals and enrolments.
    pub(crate) fn terms(&self) -> Terms {
        let renewal = &self.config.renewal;
        let days = self.config.onboarding.enrolment_days;
        Terms {
            overlap: renewal.overlap(),
            secret_life: renewal.secret_life(),
            enrolment_life: (days > 0).then(|| time::Duration::days(i64::from(days))),
            suspends_overdue: renewal.overdue_suspends(),
        }
    }

    /// Whether an invoker is told of something at a destination: the operator lets callbacks go there, or it has a WebSocket, and
    /// not too many wait already.
    pub(crate) fn calls_back(
        &self,
        records: &Records,
        invoker: &ApiInvokerId,
        destination: &Uri,
        content: Content,
    ) -> bool {
        let there = destination.as_str();
        let ways = || self.ways(records, invoker.as_str(), there, content);
        if !there.starts_with("wss://") && ways().is_empty() {
            // Invokers that cannot be called name any address over https.
            if there.starts_with("http://") {
                self.say_untold(there, content);
            }
            return false;
        }
        let lane = Lane::new(Kind::Callback, Callback::lane_to(invoker, destination));
        records.waiting_in(&lane) < CALLBACKS_MAX
    }

    /// How an invoker goes, and whether account is kept of it.
    pub(crate) fn leave(&self, reason: DepartureReason) -> Leave {
        Leave {
            reason,
            is_kept: self.config.retention.offboarded_days > 0,
        }
    }

    /// Closes the connections under certificates that count no more.
    pub(crate) fn close_connections_under(&self, ended: &[Digest]) {
        let Some(connections) = self.connections.get().filter(|_| !ended.is_empty()) else {
            return;
        };
        let is_under = |peer: &Peer| match peer {
            Peer::Certificate(shown) => {
                let shown = Digest::new(*shown.fingerprint.as_bytes());
                ended.contains(&shown)
            }
            Peer::Anonymous | Peer::Psk(_) => false,
        };
        connections.close(|connection| is_under(&connection.peer), Closing::Now);
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
