//! What is looked at from time to time, whatever the events say (D-28, D-37): a lost event, a lost subscription, or a core function
//! that cannot be reached must not leave anybody with a right for long.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use capif_spec::common::ApiInvokerId;
use capif_transport::{Closing, Connection, Connections, Peer, SharedClock};
use futures_util::StreamExt;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{
    access::Access,
    contexts::{Authorization, Contexts},
    link::{ANSWER_TIME, Link},
    proof::{belongs_to, owners},
    publication::Publication,
    subscription::Subscription,
    tokens::TokenKeys,
};

/// How often it is looked whether anything is due.
const TICK: Duration = Duration::from_secs(1);

/// How many invokers are asked about at the same time.
const QUESTIONS_MAX: usize = 8;

/// Compares what is remembered with what the core function says.
pub(crate) struct Comparison {
    pub(crate) contexts: Arc<Contexts>,
    pub(crate) access: Arc<Access>,
    pub(crate) publication: Arc<Publication>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) tokens: Arc<TokenKeys>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) link: Arc<Link>,
    pub(crate) clock: SharedClock,
    pub(crate) api_name: String,
    /// How much time passes between two comparisons.
    pub(crate) period: time::Duration,
}

impl Comparison {
    /// Runs until stopped.
    pub(crate) async fn run(self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = async { tokio::join!(self.watch(), self.compare_always()); } => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    /// Sees whether the core function answers. The question is for the keys of tokens, which may have changed.
    async fn watch(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            if self.link.is_quiet() {
                let question = tokio::time::timeout(ANSWER_TIME, self.tokens.look());
                let answered = matches!(question.await, Ok(Ok(())));
                let _noted = self.link.note(answered.then_some(()).ok_or(()));
            }
            self.link.judge();
        }
    }

    async fn compare_always(&self) {
        let mut last = self.clock.now();
        loop {
            tokio::time::sleep(TICK).await;
            let now = self.clock.now();
            // A clock that was put back hides how much time has passed.
            if now - last >= self.period || now < last {
                last = now;
                self.compare().await;
            }
        }
    }

    async fn compare(&self) {
        let missed = self.look("subscription", self.subscription.look()).await;
        let changed = self.look("publication", self.publication.look()).await;
        self.look("token keys", self.tokens.look()).await;
        if missed || changed {
            self.contexts.forget_all();
            self.access.forget_all();
        }
        let connected: BTreeSet<ApiInvokerId> = self
            .connections
            .live()
            .iter()
            .flat_map(|connection| owners(connection).collect::<Vec<_>>())
            .collect();
        futures_util::stream::iter(connected)
            .for_each_concurrent(QUESTIONS_MAX, |invoker| self.compare_one(invoker))
            .await;
    }

    /// Takes a look at something. What could not be looked at is as it was.
    async fn look<T: Default, E: std::fmt::Display>(
        &self,
        what: &str,
        look: impl Future<Output = Result<T, E>>,
    ) -> T {
        let looked = tokio::time::timeout(ANSWER_TIME, look).await;
        let reason = match looked {
            Ok(Ok(seen)) => return seen,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(what, reason, "not compared with the CAPIF core function");
        T::default()
    }

    /// Asks about an invoker that is connected, and ends the connections that it has no longer a right to.
    async fn compare_one(&self, invoker: ApiInvokerId) {
        let before = self.contexts.recall(&invoker).flatten();
        let now = self.clock.now();
        // Who cannot be asked about for too long has no right either.
        let known = self.contexts.renewed(&invoker).await.unwrap_or_default();
        let Some(authorization) = known.filter(|known| known.concerns(&self.api_name)) else {
            self.contexts.forget(&invoker);
            self.close(&invoker, Closing::Now, |_| true);
            return;
        };
        let taken_away = before.is_some_and(|before| before.generation < authorization.generation);
        self.close(&invoker, Closing::AfterResponses, |connection| {
            taken_away || !is_current(connection, &authorization, now)
        });
    }

    fn close(&self, invoker: &ApiInvokerId, closing: Closing, which: impl Fn(&Connection) -> bool) {
        let closed = self.connections.close(
            |connection| belongs_to(connection, invoker.as_str()) && which(connection),
            closing,
        );
        if closed > 0 {
            tracing::info!(%invoker, connections = closed, "connections of an API invoker that the comparison ended");
        }
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
            let counts = authorization.certificate.as_ref();
            counts.is_none_or(|counts| *counts == certificate.fingerprint.to_string())
        }
        Peer::Psk(psk) => authorization.key(&psk.identity, now).is_some(),
    }
}
