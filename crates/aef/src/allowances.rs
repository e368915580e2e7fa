//! Calls that count (TS 23.222 clause 8.23): each call of an invoker with a total or a rate is asked for at the core function, which
//! counts for all processes of the AEF, so that a limit is exact wherever the calls come in.
//!
//! One question at a time per invoker: calls that come meanwhile wait and are asked for together. Nothing is asked for in advance
//! and nothing is kept, so that no process holds what another one needs. A call that was granted counts, also when it fails
//! afterwards, and so does one whose grant got lost on the way.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use capif_client::{Allowance, Limit, Provider};
use capif_spec::common::{ApiInvokerId, ServiceApiId};
use tokio::sync::oneshot;

use crate::link::{ANSWER_TIME, Link};

/// How many calls are asked for at once, and how many wait for one invoker.
const WANTED_MAX: usize = 10_000;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may go on.
    Granted,
    /// A limit holds it back.
    Exhausted(Limit, Option<Duration>),
    /// The core function did not tell.
    Unchecked,
}

/// Who counts.
pub(crate) trait Counter: Send + Sync + 'static {
    /// Asks for calls of an invoker.
    fn count(
        &self,
        invoker: &ApiInvokerId,
        wanted: u32,
    ) -> impl Future<Output = Result<Allowance, capif_client::Error>> + Send;
}

/// The core function counts.
pub(crate) struct CcfCounter {
    pub(crate) provider: Arc<Provider>,
    pub(crate) api_id: ServiceApiId,
    pub(crate) link: Arc<Link>,
}

impl Counter for CcfCounter {
    async fn count(
        &self,
        invoker: &ApiInvokerId,
        wanted: u32,
    ) -> Result<Allowance, capif_client::Error> {
        let question = self.provider.allowance(&self.api_id, invoker, wanted);
        self.link.note(question.await)
    }
}

type Waiting = VecDeque<oneshot::Sender<Verdict>>;

/// The calls that wait, by invoker. An invoker is in the map for as long as somebody asks for it.
pub(crate) struct Allowances<C> {
    counter: C,
    waiting: Mutex<HashMap<ApiInvokerId, Waiting>>,
}

impl<C: Counter> Allowances<C> {
    pub(crate) fn new(counter: C) -> Self {
        Self {
            counter,
            waiting: Mutex::default(),
        }
    }

    /// Asks for one call.
    pub(crate) async fn take(self: &Arc<Self>, invoker: &ApiInvokerId) -> Verdict {
        let (sender, receiver) = oneshot::channel();
        match self.waiting().entry(invoker.clone()) {
            Entry::Occupied(mut entry) => {
                let waiting = entry.get_mut();
                if waiting.len() >= WANTED_MAX {
                    return Verdict::Exhausted(Limit::Rate, None);
                }
                waiting.push_back(sender);
            }
            Entry::Vacant(entry) => {
                entry.insert(Waiting::from([sender]));
                // A task of its own: the call that began it may be given up.
                tokio::spawn(Arc::clone(self).ask(invoker.clone()));
            }
        }
        receiver.await.unwrap_or(Verdict::Unchecked)
    }

    async fn ask(self: Arc<Self>, invoker: ApiInvokerId) {
        while let Some(calls) = self.next(&invoker) {
            let wanted = u32::try_from(calls.len()).unwrap_or(u32::MAX);
            let question = self.counter.count(&invoker, wanted);
            match tokio::time::timeout(ANSWER_TIME, question).await {
                Ok(Ok(allowance)) => answer(calls, &allowance),
                failure => {
                    let reason = match failure {
                        Ok(Err(error)) => error.to_string(),
                        _ => "no answer in time".to_owned(),
                    };
                    tracing::warn!(%invoker, reason, "the CAPIF core function did not count calls");
                    for call in calls {
                        let _gone = call.send(Verdict::Unchecked);
                    }
                }
            }
        }
    }

    /// The calls to ask for next; when there are none, nobody asks any more.
    fn next(&self, invoker: &ApiInvokerId) -> Option<Waiting> {
        let mut waiting = self.waiting();
        let mut calls = std::mem::take(waiting.get_mut(invoker)?);
        // Whoever gave up meanwhile needs nothing.
        calls.retain(|call| !call.is_closed());
        if calls.is_empty() {
            waiting.remove(invoker);
            return None;
        }
        Some(calls)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ApiInvokerId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// First come, first served. A grant for a call that was given up goes to the next one of the same question.
fn answer(calls: Waiting, allowance: &Allowance) {
    let mut granted = allowance.granted;
    let refusal = Verdict::Exhausted(
        allowance.exhausted.unwrap_or(Limit::Rate),
        allowance.retry_after_ms.map(Duration::from_millis),
    );
    for call in calls {
        if granted == 0 {
            let _gone = call.send(refusal);
        } else if call.send(Verdict::Granted).is_ok() {
            granted -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Counts down from a total.
    struct Total {
        left: AtomicU32,
        questions: AtomicUsize,
        /// Each answer waits for a word.
        word: Option<Notify>,
        works: bool,
    }

    impl Counter for Arc<Total> {
        async fn count(
            &self,
            _invoker: &ApiInvokerId,
            wanted: u32,
        ) -> Result<Allowance, capif_client::Error> {
            self.questions.fetch_add(1, Ordering::SeqCst);
            if let Some(word) = &self.word {
                word.notified().await;
            }
            if !self.works {
                return Err(capif_client::Error::Usage("out of order".to_owned()));
            }
            let granted = wanted.min(self.left.load(Ordering::SeqCst));
            self.left.fetch_sub(granted, Ordering::SeqCst);
            Ok(Allowance {
                granted,
                exhausted: (granted < wanted).then_some(Limit::Total),
                retry_after_ms: None,
            })
        }
    }

    fn total(left: u32) -> Total {
        Total {
            left: AtomicU32::new(left),
            questions: AtomicUsize::new(0),
            word: None,
            works: true,
        }
    }

    fn amy() -> ApiInvokerId {
        ApiInvokerId::new("amy")
    }

    async fn takes(allowances: &Arc<Allowances<Arc<Total>>>, calls: usize) -> Vec<Verdict> {
        let tasks: Vec<_> = (0..calls)
            .map(|_| {
                let allowances = Arc::clone(allowances);
                tokio::spawn(async move { allowances.take(&amy()).await })
            })
            .collect();
        let mut verdicts = Vec::new();
        for task in tasks {
            verdicts.push(task.await.unwrap());
        }
        verdicts
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn exactly_as_many_as_there_are_get_through() {
        let counter = Arc::new(total(100));
        // Two processes of one AEF.
        let both = [(); 2].map(|()| Arc::new(Allowances::new(Arc::clone(&counter))));
        let (one, other) = tokio::join!(takes(&both[0], 150), takes(&both[1], 150));
        let granted = |verdicts: &[Verdict]| {
            let granted = verdicts
                .iter()
                .filter(|verdict| **verdict == Verdict::Granted);
            granted.count()
        };
        assert_eq!(granted(&one) + granted(&other), 100);
        assert!(
            one.iter()
                .chain(&other)
                .all(|verdict| *verdict == Verdict::Granted
                    || *verdict == Verdict::Exhausted(Limit::Total, None))
        );
        assert!(
            both.iter()
                .all(|allowances| allowances.waiting().is_empty())
        );
    }

    #[tokio::test]
    async fn calls_that_wait_are_asked_for_together() {
        let counter = Arc::new(Total {
            word: Some(Notify::new()),
            ..total(u32::MAX)
        });
        let allowances = Arc::new(Allowances::new(Arc::clone(&counter)));
        let first = tokio::spawn({
            let allowances = Arc::clone(&allowances);
            async move { allowances.take(&amy()).await }
        });
        let until = async |waiting: usize| {
            let now = || allowances.waiting().get(&amy()).map(VecDeque::len);
            while now() != Some(waiting) {
                tokio::task::yield_now().await;
            }
        };
        while counter.questions.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let rest = tokio::spawn({
            let allowances = Arc::clone(&allowances);
            async move { takes(&allowances, 99).await }
        });
        until(99).await;
        let word = counter.word.as_ref().unwrap();
        word.notify_one();
        assert_eq!(first.await.unwrap(), Verdict::Granted);
        word.notify_one();
        assert_eq!(rest.await.unwrap(), vec![Verdict::Granted; 99]);
        assert_eq!(counter.questions.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_call_that_was_given_up_is_not_asked_for() {
        let counter = Arc::new(Total {
            word: Some(Notify::new()),
            ..total(10)
        });
        let allowances = Arc::new(Allowances::new(Arc::clone(&counter)));
        let call = |allowances: &Arc<Allowances<_>>| {
            let allowances = Arc::clone(allowances);
            tokio::spawn(async move { allowances.take(&amy()).await })
        };
        let first = call(&allowances);
        while counter.questions.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let (given_up, last) = (call(&allowances), call(&allowances));
        while allowances.waiting()[&amy()].len() < 2 {
            tokio::task::yield_now().await;
        }
        given_up.abort();
        assert!(given_up.await.is_err());
        let word = counter.word.as_ref().unwrap();
        word.notify_one();
        assert_eq!(first.await.unwrap(), Verdict::Granted);
        word.notify_one();
        assert_eq!(last.await.unwrap(), Verdict::Granted);
        assert_eq!(counter.left.load(Ordering::SeqCst), 8);
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_granted() {
        let counter = Arc::new(Total {
            works: false,
            ..total(10)
        });
        let allowances = Arc::new(Allowances::new(counter));
        assert_eq!(takes(&allowances, 20).await, vec![Verdict::Unchecked; 20]);
        assert!(allowances.waiting().is_empty());
    }
}
