//! Delivery of messages: at least once, in order within a lane, until acknowledged (TS 33.122 clause 6.8 steps 7 to 10). Lanes
//! do not wait for one another.
//!
//! What is delivered: notifications of events to their subscribers, revocations to AEFs (TS 29.222 clause 6.2.2.3), and to API
//! invokers what became of their enrolment and authorization; by POST, or over a WebSocket where that was agreed on.
//!
//! A message that was acknowledged is not sent again while this process lives. Its removal is written down together with others
//! while the lane goes on; a crash in between sends it once more.
//!
//! Choice: any answer 2xx acknowledges; TS 29.222 names 204 or 200, deployed receivers take either.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use capif_procedures::{
    changes::{Change, Changes, Expect, Key, Kind, Revision},
    delivery,
};
use capif_spec::common::DateTime;
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    task::JoinSet,
};

use super::{
    acknowledged::Acknowledged,
    parcel::{self, Found, Parcel, Target},
    post::Post,
    report::{self, Turn},
};
use crate::{core::Core, view::Lane};

/// How many receivers are served at the same time by POST: functions of providers, and apart from them API invokers.
const RECEIVERS_MAX: usize = 1024;

/// How many of these may belong to one provider domain, or be one API invoker: whoever has many receivers that do not answer
/// waits for them alone.
const OWNER_RECEIVERS_MAX: usize = 64;

/// How many owners of lanes are remembered before those that nobody uses are cleared.
const OWNERS_MAX: usize = 10_000;

/// The pause after a first failure.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between two attempts to tell an API invoker.
const INVOKER_PAUSE_MAX: Duration = Duration::from_secs(60);

/// How often what waits is looked at without being woken.
const PERIOD: Duration = Duration::from_secs(1);

/// Every so many times, lanes without an open WebSocket are looked at too: what waits there grows old.
const CLOSED_EVERY: u32 = 60;

/// How many messages of a lane may be acknowledged and not removed before the lane waits.
const UNREMOVED_MAX: usize = 64;

/// How long the end of the delivery waits for a store that takes nothing.
const LAST_REMOVAL_MAX: Duration = Duration::from_secs(1);

/// From which age on an unacknowledged message is an alarm.
pub(crate) const ALARM_AGE: time::Duration = time::Duration::seconds(60);

pub(super) struct Delivery {
    core: Arc<Core>,
    post: Post,
    acknowledged: Arc<Acknowledged>,
    stopped: watch::Receiver<bool>,
    /// Lanes that are being served.
    served: Mutex<HashSet<Lane>>,
    /// Lanes in which nothing goes out before a time, as long as their subscription is the one of this commit.
    held: Mutex<HashMap<Lane, (Revision, DateTime)>>,
    /// Those of provider functions.
    functions: Places,
    /// Those of API invokers, whom the operator did not choose.
    invokers: Places,
    owners: Mutex<HashMap<String, Arc<Places>>>,
}

/// How many receivers may be waited for at the same time. Those that did not answer last time take a quarter at most, so that
/// there is always room for those that do.
struct Places {
    all: Semaphore,
    doubtful: Semaphore,
}

impl Places {
    fn new(count: usize) -> Self {
        Self {
            all: Semaphore::new(count),
            doubtful: Semaphore::new(count.div_ceil(4)),
        }
    }

    async fn take(&self, is_doubtful: bool) -> Result<[Option<SemaphorePermit<'_>>; 2], String> {
        let closed = |_| "the delivery has ended".to_owned();
        let doubtful = match is_doubtful {
            true => Some(self.doubtful.acquire().await.map_err(closed)?),
            false => None,
        };
        Ok([doubtful, Some(self.all.acquire().await.map_err(closed)?)])
    }
}

/// Marks a lane as served for as long as it is.
struct Served<'a> {
    delivery: &'a Delivery,
    lane: &'a Lane,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.delivery.served().remove(self.lane);
    }
}

/// How far the service of a lane has come.
#[derive(Default)]
struct Progress {
    /// What was acknowledged and may still stand there.
    acknowledged: HashSet<String>,
    /// The number of the last of it, see [`Acknowledged::add`].
    last: u64,
    /// Whether the last attempt failed.
    is_doubtful: bool,
    is_alarmed: bool,
}

/// What came of looking for the next message of a lane.
enum Step {
    /// One was taken care of.
    Done,
    /// There is none.
    Nothing,
    /// Nothing can be sent now: the receiver has to open a WebSocket first.
    Later,
}

/// What came of offering a message.
enum Outcome {
    /// Its receiver has it.
    Acknowledged,
    /// It is too old to be offered.
    GivenUp,
    /// There is no way to the receiver for now.
    Later,
}

/// Runs until stopped.
pub(super) async fn run(core: Arc<Core>, post: Post, mut stopped: watch::Receiver<bool>) {
    let messages = Arc::clone(core.view.messages());
    let callbacks = Arc::clone(core.view.callbacks());
    let acknowledged = Arc::new(Acknowledged::new());
    let (ended, end) = watch::channel(false);
    let removal = tokio::spawn(Arc::clone(&acknowledged).run(Arc::clone(&core), end));
    let delivery = Arc::new(Delivery {
        core,
        post,
        acknowledged,
        stopped: stopped.clone(),
        served: Mutex::default(),
        held: Mutex::default(),
        functions: Places::new(RECEIVERS_MAX),
        invokers: Places::new(RECEIVERS_MAX),
        owners: Mutex::default(),
    });
    let mut deliveries = JoinSet::new();
    let mut rounds = 0_u32;
    loop {
        for lane in delivery.unserved(rounds.is_multiple_of(CLOSED_EVERY)) {
            deliveries.spawn(Arc::clone(&delivery).serve(lane));
        }
        while deliveries.try_join_next().is_some() {}
        tokio::select! {
            () = messages.notified() => {}
            () = callbacks.notified() => {}
            () = delivery.core.sockets.opened() => {}
            () = tokio::time::sleep(PERIOD) => rounds = rounds.wrapping_add(1),
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
    while deliveries.join_next().await.is_some() {}
    ended.send_replace(true);
    if removal.await.is_err() {
        tracing::error!("the removal of acknowledged notifications ended early");
    }
}

impl Delivery {
    fn served(&self) -> MutexGuard<'_, HashSet<Lane>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lanes where something waits and that nobody serves; from now on somebody does. Those whose WebSocket is not open are left
    /// out, unless they are wanted too.
    fn unserved(&self, with_closed: bool) -> Vec<Lane> {
        let records = self.core.view.read();
        let mut served = self.served();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.core.now();
        let is_held = |lane: &Lane| {
            held.get(lane).is_some_and(|(revision, until)| {
                let subscription = records.subscription_of(lane);
                *until > now && subscription.is_some_and(|held| held.revision == *revision)
            })
        };
        let unserved: Vec<Lane> = records
            .waiting()
            .filter(|lane| !served.contains(*lane) && !is_held(lane))
            .filter(|lane| with_closed || self.core.sockets.is_way_open(&records, lane))
            .cloned()
            .collect();
        served.extend(unserved.iter().cloned());
        unserved
    }

    /// Delivers what waits in one lane, in order.
    async fn serve(self: Arc<Self>, lane: Lane) {
        let mut stopped = self.stopped.clone();
        let mut pause = PAUSE_FIRST;
        let mut progress = Progress::default();
        let served = Served {
            delivery: &self,
            lane: &lane,
        };
        let mut is_later = false;
        while !*stopped.borrow() {
            match self.next(&lane, &mut progress).await {
                Ok(Step::Done) => pause = PAUSE_FIRST,
                Ok(Step::Nothing) => break,
                Ok(Step::Later) => {
                    is_later = true;
                    break;
                }
                Err(reason) => {
                    progress.is_doubtful = true;
                    tracing::warn!(lane = lane.prefix, reason, "notification not acknowledged");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stopped.wait_for(|stopped| *stopped) => {}
                    }
                    pause = (pause * 2).min(self.pause_max(&lane));
                }
            }
        }
        // Who serves the lane next must not find what was acknowledged.
        self.removed(&mut progress).await;
        drop(served);
        if !is_later && self.core.view.read().next_in(&lane).is_some() {
            self.core.view.messages().notify_one();
        }
    }

    fn pause_max(&self, lane: &Lane) -> Duration {
        if lane.kind == Kind::Callback {
            return INVOKER_PAUSE_MAX;
        }
        Duration::from_secs(u64::from(self.core.config.events.retry_seconds_max))
    }

    /// Delivers the next message, or gives it up.
    async fn next(&self, lane: &Lane, progress: &mut Progress) -> Result<Step, String> {
        if progress.acknowledged.len() >= UNREMOVED_MAX {
            self.removed(progress).await;
        }
        let id = {
            let records = self.core.view.read();
            let mut ids = records.ids_in(lane);
            ids.find(|id| !progress.acknowledged.contains(*id)).cloned()
        };
        let Some(id) = id else {
            if progress.acknowledged.is_empty() {
                return Ok(Step::Nothing);
            }
            self.removed(progress).await;
            return Ok(Step::Done);
        };
        let key = Key::new(lane.kind, id);
        if !delivery::is_test(&key) && report::are_asked(&self.core.view.read(), lane) {
            // Whatever went out before its subscription asked for reports is not told in one too.
            self.removed(progress).await;
            return self.next_report(lane, progress).await;
        }
        let parcel = match parcel::load(&self.core, &key)
            .await
            .map_err(|fault| fault.to_string())?
        {
            Found::Parcel(parcel) => parcel,
            // What asked for it has just gone, and takes it along.
            Found::Nothing => {
                self.done(key, progress);
                return Ok(Step::Done);
            }
        };
        match self.offer(lane, &key, &parcel, progress).await? {
            Outcome::Later => return Ok(Step::Later),
            Outcome::Acknowledged if delivery::is_test(&key) => {
                self.done_with_test(key, &parcel).await?;
            }
            Outcome::Acknowledged | Outcome::GivenUp => self.done(key, progress),
        }
        Ok(Step::Done)
    }

    /// Delivers the next report of a subscription that asks something of its reports.
    async fn next_report(&self, lane: &Lane, progress: &mut Progress) -> Result<Step, String> {
        let core = &self.core;
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let held = core.view.read().subscription_of(lane).cloned();
        let (parcel, ids) = match report::turn(core, lane)
            .await
            .map_err(|error| words(&error))?
        {
            Turn::Report(parcel, ids) => (parcel, ids),
            Turn::HoldUntil(until) => {
                self.hold(lane, until, held.map(|held| held.revision));
                return Ok(Step::Later);
            }
            Turn::Over => {
                let ended = report::end(core, lane).await;
                return ended.map(|()| Step::Done).map_err(|error| words(&error));
            }
            Turn::Untold(ids) => {
                let gone = report::given_up(core, lane, &ids).await;
                return gone.map(|()| Step::Done).map_err(|error| words(&error));
            }
            Turn::Nothing => return Ok(Step::Nothing),
        };
        let key = Key::new(lane.kind, ids.last().cloned().unwrap_or_default());
        let done = match self.offer(lane, &key, &parcel, progress).await? {
            Outcome::Later => return Ok(Step::Later),
            Outcome::Acknowledged => report::reported(core, lane, &ids).await,
            Outcome::GivenUp => report::given_up(core, lane, &ids).await,
        };
        done.map(|()| Step::Done).map_err(|error| words(&error))
    }

    /// Remembers that nothing goes out in a lane before then, unless its subscription changes: from the commit on that the hold was
    /// decided on.
    fn hold(&self, lane: &Lane, until: DateTime, subscription: Option<Revision>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= OWNERS_MAX {
            let now = self.core.now();
            held.retain(|_, (_, until)| *until > now);
        }
        if let Some(revision) = subscription {
            held.insert(lane.clone(), (revision, until));
        }
    }

    /// Offers a message to its receiver once.
    async fn offer(
        &self,
        lane: &Lane,
        key: &Key,
        parcel: &Parcel,
        progress: &mut Progress,
    ) -> Result<Outcome, String> {
        let age = self.core.clock.now() - parcel.raised.0;
        if age > parcel.kept {
            give_up(lane, parcel);
            return Ok(Outcome::GivenUp);
        }
        let outcome = match &parcel.target {
            Target::Socket(socket) => {
                let Some(line) = self.core.sockets.line(socket) else {
                    return Ok(Outcome::Later);
                };
                let number = number(key, parcel);
                let stopped = self.stopped.clone();
                line.deliver(number, parcel.body.clone(), stopped).await
            }
            Target::Post(..) => self.post(parcel, progress.is_doubtful).await,
        };
        if outcome.is_err() && age > ALARM_AGE && parcel.alarms && !progress.is_alarmed {
            progress.is_alarmed = true;
            tracing::error!(target: "capif::alarm", lane = lane.prefix, what = parcel.what(),
                destination = parcel.destination(), "a receiver has not acknowledged a notification for over a minute");
        }
        outcome?;
        progress.is_doubtful = false;
        progress.is_alarmed = false;
        Ok(Outcome::Acknowledged)
    }

    /// Takes note that a message needs no more care.
    fn done(&self, key: Key, progress: &mut Progress) {
        progress.acknowledged.insert(key.id.clone());
        progress.last = self.acknowledged.add(key);
    }

    /// Waits until what was acknowledged is removed.
    async fn removed(&self, progress: &mut Progress) {
        if progress.acknowledged.is_empty() {
            return;
        }
        let mut stopped = self.stopped.clone();
        let too_long = async {
            let _ = stopped.wait_for(|stopped| *stopped).await;
            tokio::time::sleep(LAST_REMOVAL_MAX).await;
        };
        tokio::select! {
            () = self.acknowledged.removed(progress.last) => {}
            () = too_long => {}
        }
        progress.acknowledged.clear();
    }

    /// Removes a test that was acknowledged, unless another one stands in its place by now.
    async fn done_with_test(&self, key: Key, parcel: &Parcel) -> Result<(), String> {
        let mut changes = Changes::new();
        changes.steps.push(Change::Delete {
            key,
            expect: Expect::At(parcel.revision),
        });
        match self.core.store.commit(changes).await {
            Ok(_) | Err(crate::store::CommitError::Conflict(_)) => Ok(()),
            Err(crate::store::CommitError::Fault(fault)) => Err(fault.to_string()),
        }
    }

    /// The places of the owner of a receiver.
    fn places(&self, owner: &str) -> Arc<Places> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = owners.get(owner) {
            return Arc::clone(places);
        }
        if owners.len() >= OWNERS_MAX {
            owners.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let places = Arc::new(Places::new(OWNER_RECEIVERS_MAX));
        owners.insert(owner.to_owned(), Arc::clone(&places));
        places
    }

    async fn post(&self, parcel: &Parcel, is_doubtful: bool) -> Result<(), String> {
        let own = self.places(&parcel.owner);
        let everyones = if parcel.is_invokers {
            &self.invokers
        } else {
            &self.functions
        };
        let _place = own.take(is_doubtful).await?;
        let _receiver = everyones.take(is_doubtful).await?;
        self.post.send(&self.core, parcel).await
    }
}

fn give_up(lane: &Lane, parcel: &Parcel) {
    let what = parcel.what();
    if parcel.alarms {
        tracing::error!(target: "capif::alarm", lane = lane.prefix, what,
            "a notification was given up: its receiver did not acknowledge it in time");
    } else {
        tracing::warn!(lane = lane.prefix, what, "a notification was given up");
    }
}

/// The number of a message on its WebSocket: the same whenever it is sent, another one for each message. Those of tests are odd.
fn number(key: &Key, parcel: &Parcel) -> u32 {
    let sequence = key.id.rsplit('/').next().and_then(|end| end.parse().ok());
    let number = match sequence {
        Some(sequence) => u64::wrapping_mul(sequence, 2),
        None => parcel.revision.0.wrapping_mul(2).wrapping_add(1),
    };
    // Four octets, as TS 29.122 clause 5.2.5.4 has it: what is cut off comes again after two milliards of messages.
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
}
