//! What is looked at from time to time, whatever the events say (D-28, D-37): a lost event, a lost subscription, or a core function
//! that cannot be reached must not leave anybody with a right for long.

use std::{sync::Arc, time::Duration};

use capif_transport::SharedClock;
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::{
    access::Access,
    contexts::Contexts,
    link::{ANSWER_TIME, Link},
    publication::Publication,
    settlement::Settlement,
    subscription::Subscription,
    tokens::TokenKeys,
    upkeep::Upkeep,
};

/// How often it is looked whether anything is due.
const TICK: Duration = Duration::from_secs(1);

/// How many invokers are asked about at the same time.
pub(crate) const QUESTIONS_MAX: usize = 8;

/// Compares what is remembered with what the core function says.
pub(crate) struct Comparison {
    pub(crate) contexts: Arc<Contexts>,
    pub(crate) access: Arc<Access>,
    pub(crate) publication: Arc<Publication>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) tokens: Arc<TokenKeys>,
    pub(crate) settlement: Arc<Settlement>,
    pub(crate) upkeep: Arc<Upkeep>,
    pub(crate) link: Arc<Link>,
    pub(crate) clock: SharedClock,
    /// How much time passes between two comparisons.
    pub(crate) period: time::Duration,
}

impl Comparison {
    /// Runs until stopped.
    pub(crate) async fn run(self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = async {
                tokio::join!(self.watch(), self.compare_always(), self.upkeep.run());
            } => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    /// Sees whether the core function answers. The question is for the keys of tokens, which may have changed.
    async fn watch(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            self.settlement.end_outlived();
            let was_down = self.link.is_down();
            if self.link.is_quiet() {
                let question = tokio::time::timeout(ANSWER_TIME, self.tokens.look());
                let answered = matches!(question.await, Ok(Ok(())));
                let _noted = self.link.note(answered.then_some(()).ok_or(()));
                if was_down && answered {
                    // It answers, but not everything: perhaps it wants another certificate first.
                    self.look("trust and renewal", self.upkeep.follow()).await;
                }
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
        self.look("trust and renewal", self.upkeep.follow()).await;
        // The subscription of whoever was superseded ended with that: another one would outlive it.
        let missed = match self.upkeep.superseded() {
            None => self.look("subscription", self.subscription.look()).await,
            Some(_) => false,
        };
        let changed = self.look("publication", self.publication.look()).await;
        self.look("token keys", self.tokens.look()).await;
        if missed || changed {
            self.contexts.forget_all();
            self.access.forget_all();
        }
        futures_util::stream::iter(self.settlement.connected())
            .for_each_concurrent(QUESTIONS_MAX, |invoker| self.settlement.compare(invoker))
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
}
