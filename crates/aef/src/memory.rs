//! What the CAPIF core function says of API invokers, whatever it is about: asked once, believed for a short while, forgotten
//! when an event says so (TS 33.122 clause 6.5.1, D-37).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use capif_spec::common::ApiInvokerId;
use capif_transport::SharedClock;
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use crate::{
    link::{ANSWER_TIME, Link},
    path,
};

/// From this age on the core function is asked again, or from half of what may be believed at most.
const FRESH_MAX: Duration = Duration::seconds(30);

/// The pause between two questions about one invoker that are put because its calls would be refused.
const DOUBT_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// How many invokers are remembered.
const INVOKERS_MAX: usize = 200_000;

/// The pause before an answer that was overtaken by an event is asked for again: it doubles, since events come in bursts.
const OVERTAKEN_PAUSE: std::time::Duration = std::time::Duration::from_millis(2);
const OVERTAKEN_PAUSE_MAX: std::time::Duration = std::time::Duration::from_millis(250);

/// Where the answers come from.
pub(crate) trait Source: Send + Sync + 'static {
    /// What is told of one invoker.
    type Fact: Send + Sync + 'static;

    /// Puts the question; `None` when there is nothing to tell.
    fn ask(
        &self,
        id: &ApiInvokerId,
    ) -> impl Future<Output = Result<Option<Self::Fact>, capif_client::Error>> + Send;
}

/// How many offboarded invokers are remembered as such.
const GONE_MAX: usize = 10_000;

/// How long an answer is believed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ages {
    /// From this age on the question is put again.
    pub(crate) fresh: Duration,
    /// Beyond this age nothing is believed, whatever the state of the core function.
    pub(crate) stale: Duration,
    /// The same for the answer that there is nothing to tell, if that is less.
    pub(crate) nothing: Duration,
}

impl Ages {
    /// The ages that follow from how old an answer may be.
    pub(crate) fn new(stale: Duration) -> Self {
        Self {
            fresh: FRESH_MAX.min(stale / 2),
            stale,
            nothing: stale,
        }
    }
}

/// The core function could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the CAPIF core function did not tell")]
pub(crate) struct Unavailable;

/// What is known of an invoker, if anything is told of it.
pub(crate) type Known<F> = Option<Arc<F>>;

/// All that is remembered.
pub(crate) struct Memory<S: Source> {
    source: S,
    ages: Ages,
    held: Mutex<HashMap<ApiInvokerId, Held<S::Fact>>>,
    gone: Mutex<Gone>,
    /// How often everyone was forgotten.
    forgotten: AtomicU64,
    asking: Mutex<HashMap<ApiInvokerId, Arc<Gate>>>,
    /// When a question was last not answered.
    failed: Mutex<Option<Instant>>,
    link: Arc<Link>,
    clock: SharedClock,
}

struct Held<F> {
    /// By the clock: ages are counted from here.
    asked: OffsetDateTime,
    /// The same moment, to tell what came before what.
    began: Instant,
    fact: Known<F>,
}

/// The invokers that were offboarded last. An id is never given again, so nothing is asked about them any more.
#[derive(Default)]
struct Gone {
    ids: HashSet<ApiInvokerId>,
    in_order: VecDeque<ApiInvokerId>,
}

impl Gone {
    fn add(&mut self, id: &ApiInvokerId) {
        if !self.ids.insert(id.clone()) {
            return;
        }
        self.in_order.push_back(id.clone());
        if self.in_order.len() > GONE_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// Lets one question at a time through.
#[derive(Default)]
struct Gate {
    one: tokio::sync::Mutex<()>,
    /// How often the invoker was forgotten meanwhile.
    forgotten: AtomicU64,
}

/// One who asks or waits for the answer; the last one takes the gate away.
struct Asking<'a, S: Source> {
    memory: &'a Memory<S>,
    id: &'a ApiInvokerId,
    gate: Arc<Gate>,
}

impl<'a, S: Source> Asking<'a, S> {
    fn new(memory: &'a Memory<S>, id: &'a ApiInvokerId) -> Self {
        let gate = Arc::clone(lock(&memory.asking).entry(id.clone()).or_default());
        Self { memory, id, gate }
    }

    /// How often what is asked for was forgotten: an answer asked for before is not kept after.
    fn forgotten(&self) -> (u64, u64) {
        (
            self.memory.forgotten.load(Ordering::SeqCst),
            self.gate.forgotten.load(Ordering::SeqCst),
        )
    }
}

impl<S: Source> Drop for Asking<'_, S> {
    fn drop(&mut self) {
        let mut asking = lock(&self.memory.asking);
        // The map's own and this one.
        if Arc::strong_count(&self.gate) <= 2 {
            asking.remove(self.id);
        }
    }
}

impl<S: Source> Memory<S> {
    pub(crate) fn new(source: S, ages: Ages, link: Arc<Link>, clock: SharedClock) -> Self {
        Self {
            source,
            ages,
            held: Mutex::default(),
            gone: Mutex::default(),
            forgotten: AtomicU64::new(0),
            asking: Mutex::default(),
            failed: Mutex::default(),
            link,
            clock,
        }
    }

    /// What is known of an invoker; asked for when it is not fresh. One question at a time per invoker.
    pub(crate) async fn of(&self, id: &ApiInvokerId) -> Result<Known<S::Fact>, Unavailable> {
        if self.is_nobody(id) {
            return Ok(None);
        }
        if let Some(fresh) = self.at_hand(id, self.ages.fresh) {
            return Ok(fresh);
        }
        if self.link.is_down()
            && let Some(known) = self.at_hand(id, self.ages.stale)
        {
            // Nobody waits for an answer that is not to be had. Whether it is again is found out elsewhere.
            return Ok(known);
        }
        let arrived = Instant::now();
        let asking = Asking::new(self, id);
        let _one_at_a_time = asking.gate.one.lock().await;
        match self.at_hand(id, self.ages.fresh) {
            Some(fresh) => Ok(fresh),
            // Who waited while a question went unanswered does not put it again at once.
            None if self.failed_since(arrived) => {
                self.at_hand(id, self.ages.stale).ok_or(Unavailable)
            }
            None => self.ask(&asking).await,
        }
    }

    /// The same for a call that would be refused by what is known: a refusal rests on an answer that was asked for after the
    /// call `arrived`, so that an invoker which negotiated anew need not wait until what is remembered is old (TS 33.122 clause
    /// 6.7). Calls that wait for each other's answer, and a pause between two questions, keep the questions few.
    pub(crate) async fn since(
        &self,
        id: &ApiInvokerId,
        arrived: Instant,
    ) -> Result<Known<S::Fact>, Unavailable> {
        if self.is_nobody(id) {
            return Ok(None);
        }
        let asking = Asking::new(self, id);
        let _one_at_a_time = asking.gate.one.lock().await;
        let last = lock(&self.held)
            .get(id)
            .map(|held| (held.began, held.fact.clone()));
        match last {
            Some((began, fact)) if began > arrived => return Ok(fact),
            _ if self.failed_since(arrived) => {
                return self.at_hand(id, self.ages.stale).ok_or(Unavailable);
            }
            Some((began, _)) => tokio::time::sleep_until(began + DOUBT_PAUSE).await,
            None => {}
        }
        self.ask(&asking).await
    }

    /// Puts the question now, whatever is known.
    pub(crate) async fn renewed(&self, id: &ApiInvokerId) -> Result<Known<S::Fact>, Unavailable> {
        if self.is_nobody(id) {
            return Ok(None);
        }
        let asking = Asking::new(self, id);
        let _one_at_a_time = asking.gate.one.lock().await;
        self.ask(&asking).await
    }

    /// Makes sure that something is known, if only that there is nothing to tell: either costs one question per while, so that
    /// neither questions nor time tell which it is (D-31).
    pub(crate) async fn prepare(&self, id: &ApiInvokerId) {
        if !self.asked_lately(id) && is_id(id) {
            let asking = Asking::new(self, id);
            let _one_at_a_time = asking.gate.one.lock().await;
            if !self.asked_lately(id) {
                let _unanswered = self.ask(&asking).await;
            }
        }
    }

    /// Whether [`Memory::prepare`] has nothing to do.
    pub(crate) fn asked_lately(&self, id: &ApiInvokerId) -> bool {
        let age = |held: &Held<S::Fact>| self.clock.now() - held.asked;
        lock(&self.held)
            .get(id)
            .is_some_and(|held| (Duration::ZERO..self.ages.fresh).contains(&age(held)))
    }

    /// What is known without a question, even if it is not fresh.
    pub(crate) fn recall(&self, id: &ApiInvokerId) -> Option<Known<S::Fact>> {
        self.at_hand(id, self.ages.stale)
    }

    /// Forgets an invoker (TS 33.122 clause 6.8 step 8).
    pub(crate) fn forget(&self, id: &ApiInvokerId) {
        let mut held = lock(&self.held);
        if let Some(gate) = lock(&self.asking).get(id) {
            gate.forgotten.fetch_add(1, Ordering::SeqCst);
        }
        held.remove(id);
    }

    /// Forgets an invoker that was offboarded, and does not ask about it again.
    pub(crate) fn forget_for_good(&self, id: &ApiInvokerId) {
        lock(&self.gone).add(id);
        self.forget(id);
    }

    /// Whether nothing need be asked to know that there is no such invoker.
    fn is_nobody(&self, id: &ApiInvokerId) -> bool {
        !is_id(id) || lock(&self.gone).ids.contains(id)
    }

    /// Forgets everyone.
    pub(crate) fn forget_all(&self) {
        let mut held = lock(&self.held);
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        held.clear();
    }

    /// Puts the question until no event overtakes its answer; for as long as the core function may take to answer, no further one is put.
    async fn ask(&self, asking: &Asking<'_, S>) -> Result<Known<S::Fact>, Unavailable> {
        let deadline = Instant::now() + ANSWER_TIME;
        let mut pause = OVERTAKEN_PAUSE;
        loop {
            if let Some(answer) = self.ask_once(asking).await {
                return answer;
            }
            if Instant::now() + pause > deadline {
                tracing::warn!(invoker = %asking.id, "events overtook every answer about an invoker");
                return Err(Unavailable);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(OVERTAKEN_PAUSE_MAX);
        }
    }

    /// Puts the question; nothing if an event has overtaken the answer.
    async fn ask_once(
        &self,
        asking: &Asking<'_, S>,
    ) -> Option<Result<Known<S::Fact>, Unavailable>> {
        let id = asking.id;
        let before = asking.forgotten();
        // What is answered holds from the question on.
        let (asked, began) = (self.clock.now(), Instant::now());
        let question = tokio::time::timeout(ANSWER_TIME, self.source.ask(id));
        let answer = question.await.map_err(|_| "no answer in time".to_owned());
        let answer = answer.and_then(|answer| answer.map_err(|error| error.to_string()));
        let fact = match self.link.note(answer) {
            Ok(fact) => fact.map(Arc::new),
            Err(reason) => {
                *lock(&self.failed) = Some(Instant::now());
                tracing::warn!(invoker = %id, reason, "the CAPIF core function was not asked about an invoker");
                // What is not yet too old still counts.
                return Some(self.at_hand(id, self.ages.stale).ok_or(Unavailable));
            }
        };
        let mut held = lock(&self.held);
        if asking.forgotten() != before {
            return None;
        }
        if held.len() >= INVOKERS_MAX && !held.contains_key(id) {
            held.retain(|_, held| self.counts(held, asked, self.ages.stale));
        }
        if held.len() < INVOKERS_MAX || held.contains_key(id) {
            let fact = fact.clone();
            held.insert(id.clone(), Held { asked, began, fact });
        }
        Some(Ok(fact))
    }

    fn failed_since(&self, moment: Instant) -> bool {
        lock(&self.failed).is_some_and(|failed| failed >= moment)
    }

    fn at_hand(&self, id: &ApiInvokerId, age_max: Duration) -> Option<Known<S::Fact>> {
        let now = self.clock.now();
        let held = lock(&self.held);
        let held = held.get(id)?;
        self.counts(held, now, age_max).then(|| held.fact.clone())
    }

    fn counts(&self, held: &Held<S::Fact>, now: OffsetDateTime, age_max: Duration) -> bool {
        let age_max = match held.fact {
            Some(_) => age_max,
            None => age_max.min(self.ages.nothing),
        };
        (Duration::ZERO..age_max).contains(&(now - held.asked))
    }
}

/// Whether this can be the id of an invoker. About anything else the core function refuses to be asked, and a question that goes
/// without an answer is taken for a sign that it is gone.
fn is_id(id: &ApiInvokerId) -> bool {
    path::is_plain_segment(id.as_str())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
