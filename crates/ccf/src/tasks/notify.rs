//! Delivery of messages: at least once, in order within a lane, until acknowledged (TS 33.122 clause 6.8 steps 7 to 10). Lanes
//! do not wait for one another.
//!
//! What is delivered: notifications of events to their subscribers, revocations to AEFs (TS 29.222 clause 6.2.2.3), and, by a
//! delivery of their own with their own places, notifications of revocation to invokers, who are nobody's certified servers.
//!
//! Choice: any answer 2xx acknowledges; TS 29.222 names 204 or 200, deployed receivers take either. Redirects are not
//! followed: where a message goes was judged before.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use capif_procedures::changes::{Change, Changes, Expect, Key, Kind};
use capif_transport::full;
use http::{Request, header};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};

use super::parcel::{self, Found, Parcel};
use crate::{authority::presence::Outgoing, core::Core, view::Lane};

/// How many receivers are served at the same time.
const RECEIVERS_MAX: usize = 1024;

/// How many of these may belong to one provider domain, or be one API invoker: whoever has many receivers that do not answer
/// waits for them alone.
const LANE_RECEIVERS_MAX: usize = 16;

/// How many owners of lanes are remembered before those that nobody uses are cleared.
const OWNERS_MAX: usize = 10_000;

/// How long a receiver may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The pause after a first failure.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// How often what waits is looked at without being woken.
const PERIOD: Duration = Duration::from_secs(1);

/// From which age on an unacknowledged message is an alarm.
pub(crate) const ALARM_AGE: time::Duration = time::Duration::seconds(60);

/// What one delivery takes care of, and by which means.
pub(super) struct Route {
    pub(super) kinds: &'static [Kind],
    pub(super) client: Arc<Outgoing>,
    /// The longest pause between two attempts.
    pub(super) pause_max: Duration,
    pub(super) wake: Arc<Notify>,
}

struct Delivery {
    core: Arc<Core>,
    route: Route,
    stopped: watch::Receiver<bool>,
    /// Lanes that are being served.
    served: Mutex<HashSet<Lane>>,
    receivers: Semaphore,
    owners: Mutex<HashMap<String, Arc<Semaphore>>>,
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

/// Runs until stopped.
pub(super) async fn run(core: Arc<Core>, route: Route, mut stopped: watch::Receiver<bool>) {
    let wake = Arc::clone(&route.wake);
    let delivery = Arc::new(Delivery {
        core,
        route,
        stopped: stopped.clone(),
        served: Mutex::default(),
        receivers: Semaphore::new(RECEIVERS_MAX),
        owners: Mutex::default(),
    });
    let mut deliveries = JoinSet::new();
    loop {
        for lane in delivery.waiting() {
            if delivery.served().insert(lane.clone()) {
                deliveries.spawn(Arc::clone(&delivery).serve(lane));
            }
        }
        while deliveries.try_join_next().is_some() {}
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
    while deliveries.join_next().await.is_some() {}
}

impl Delivery {
    fn served(&self) -> std::sync::MutexGuard<'_, HashSet<Lane>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> Vec<Lane> {
        let records = self.core.view.read();
        let own = |lane: &&Lane| self.route.kinds.contains(&lane.kind);
        records.waiting().filter(own).cloned().collect()
    }

    /// Delivers what waits in one lane, in order.
    async fn serve(self: Arc<Self>, lane: Lane) {
        let mut stopped = self.stopped.clone();
        let mut pause = PAUSE_FIRST;
        let mut alarmed = false;
        let served = Served {
            delivery: &self,
            lane: &lane,
        };
        while !*stopped.borrow() {
            match self.next(&lane, &mut alarmed).await {
                Ok(true) => {
                    pause = PAUSE_FIRST;
                    alarmed = false;
                }
                Ok(false) => break,
                Err(reason) => {
                    tracing::warn!(lane = lane.prefix, reason, "notification not acknowledged");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stopped.wait_for(|stopped| *stopped) => {}
                    }
                    pause = (pause * 2).min(self.route.pause_max);
                }
            }
        }
        drop(served);
        if self.core.view.read().next_in(&lane).is_some() {
            self.route.wake.notify_one();
        }
    }

    /// Delivers the next message; `false` when there is none.
    async fn next(&self, lane: &Lane, alarmed: &mut bool) -> Result<bool, String> {
        let Some(id) = self.core.view.read().next_in(lane).cloned() else {
            return Ok(false);
        };
        let key = Key::new(lane.kind, id);
        let parcel = match parcel::load(&self.core, &key)
            .await
            .map_err(|fault| fault.to_string())?
        {
            Found::Parcel(parcel) => parcel,
            // What asked for it has just gone, and takes it along.
            Found::Nothing => return self.done(key).await,
        };
        let age = self.core.clock.now() - parcel.raised.0;
        if age > parcel.kept {
            if parcel.alarms {
                tracing::error!(target: "capif::alarm", lane = lane.prefix, what = parcel.what,
                    "a notification was given up: its receiver did not acknowledge it in time");
            } else {
                tracing::warn!(
                    lane = lane.prefix,
                    what = parcel.what,
                    "a notification was given up"
                );
            }
            return self.done(key).await;
        }
        let outcome = self.post(&parcel).await;
        if outcome.is_err() && age > ALARM_AGE && parcel.alarms && !*alarmed {
            *alarmed = true;
            tracing::error!(target: "capif::alarm", lane = lane.prefix, what = parcel.what,
                destination = parcel.destination, "a receiver has not acknowledged a notification for over a minute");
        }
        outcome?;
        self.done(key).await
    }

    async fn done(&self, key: Key) -> Result<bool, String> {
        let mut changes = Changes::new();
        changes.steps.push(Change::Delete {
            key,
            expect: Expect::Any,
        });
        self.core
            .housekeep(changes)
            .await
            .map(|()| true)
            .map_err(|error| error.to_string())
    }

    /// The places of the owner of a receiver.
    fn places(&self, owner: &str) -> Arc<Semaphore> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.len() >= OWNERS_MAX {
            owners.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let places = owners
            .entry(owner.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(LANE_RECEIVERS_MAX)));
        Arc::clone(places)
    }

    async fn post(&self, parcel: &Parcel) -> Result<(), String> {
        let request = Request::post(&parcel.destination)
            .header(header::CONTENT_TYPE, "application/json")
            .body(full(parcel.body.clone()))
            .map_err(|error| error.to_string())?;
        let places = self.places(&parcel.owner);
        let _place = places.acquire().await.map_err(|error| error.to_string())?;
        let _receiver = self
            .receivers
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        let response =
            tokio::time::timeout(ANSWER_TIME, self.route.client.client().request(request))
                .await
                .map_err(|_| "the receiver did not answer in time".to_owned())?
                .map_err(|error| error.to_string())?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(format!("the receiver answered {}", response.status()))
        }
    }
}
