//! Delivery of notifications: at least once, in order within a subscription, until acknowledged (TS 33.122 clause 6.8 steps 7 to
//! 10). Receivers do not wait for one another.
//!
//! Choice: any answer 2xx acknowledges; TS 29.222 names 204, deployed receivers answer 200 as well. Redirects are not
//! followed: where a notification goes was judged when the subscription was made.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use capif_procedures::{
    changes::{Changes, Expect},
    state::Notification,
};
use capif_transport::{Client, full};
use http::{Request, header};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{core::Core, store};

/// How many receivers are served at the same time.
const RECEIVERS_MAX: usize = 1024;

/// How many of these may belong to one provider domain, or be one API invoker: whoever has many receivers that do not answer
/// waits for them alone.
const LANE_RECEIVERS_MAX: usize = 16;

/// How many lanes are remembered before those that nobody uses are cleared.
const LANES_MAX: usize = 10_000;

/// How long a receiver may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The pause after a first failure.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// How often the waiting notifications are looked at without being woken.
const PERIOD: Duration = Duration::from_secs(1);

/// From which age on an unacknowledged notification is an alarm.
const ALARM_AGE: time::Duration = time::Duration::seconds(60);

struct Delivery {
    core: Arc<Core>,
    client: Client,
    stopped: watch::Receiver<bool>,
    /// Subscriptions that are being served, by their prefix.
    served: Mutex<HashSet<String>>,
    receivers: Semaphore,
    lanes: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Marks a subscription as served for as long as it is.
struct Served<'a> {
    delivery: &'a Delivery,
    prefix: &'a str,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.delivery.served().remove(self.prefix);
    }
}

/// Runs until stopped.
pub(super) async fn run(core: Arc<Core>, client: Client, mut stopped: watch::Receiver<bool>) {
    let wake = Arc::clone(core.view.notifications());
    let delivery = Arc::new(Delivery {
        core,
        client,
        stopped: stopped.clone(),
        served: Mutex::default(),
        receivers: Semaphore::new(RECEIVERS_MAX),
        lanes: Mutex::default(),
    });
    let mut deliveries = JoinSet::new();
    loop {
        let waiting = delivery.core.view.read().waiting();
        for prefix in waiting {
            if delivery.served().insert(prefix.clone()) {
                deliveries.spawn(Arc::clone(&delivery).serve(prefix));
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
    fn served(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers what waits under one subscription, in order.
    async fn serve(self: Arc<Self>, prefix: String) {
        let longest = Duration::from_secs(u64::from(self.core.config.events.retry_seconds_max));
        let mut stopped = self.stopped.clone();
        let mut pause = PAUSE_FIRST;
        let mut alarmed = false;
        let served = Served {
            delivery: &self,
            prefix: &prefix,
        };
        while !*stopped.borrow() {
            match self.next(&prefix, &mut alarmed).await {
                Ok(true) => {
                    pause = PAUSE_FIRST;
                    alarmed = false;
                }
                Ok(false) => break,
                Err(reason) => {
                    tracing::warn!(
                        subscription = prefix,
                        reason,
                        "notification not acknowledged"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stopped.wait_for(|stopped| *stopped) => {}
                    }
                    pause = (pause * 2).min(longest);
                }
            }
        }
        drop(served);
        if self.core.view.read().next_notification(&prefix).is_some() {
            self.core.view.notifications().notify_one();
        }
    }

    /// Delivers the next notification; `false` when there is none.
    async fn next(&self, prefix: &str, alarmed: &mut bool) -> Result<bool, String> {
        let (id, destination) = {
            let records = self.core.view.read();
            let Some(id) = records.next_notification(prefix).cloned() else {
                return Ok(false);
            };
            let destination = prefix
                .trim_end_matches('/')
                .split_once('/')
                .and_then(|(subscriber, id)| records.subscription(subscriber, id))
                .map(|held| held.record.subscription.notification_destination.clone());
            (id, destination)
        };
        let held = store::load::<Notification>(self.core.store.as_ref(), &id)
            .await
            .map_err(|fault| fault.to_string())?;
        let (Some(held), Some(destination)) = (held, destination) else {
            // Its subscription has just gone, and takes it along.
            return self.done(&id).await;
        };
        let age = self.core.clock.now() - held.record.raised.0;
        let retention = time::Duration::hours(i64::from(self.core.config.events.retention_hours));
        if age > retention {
            tracing::error!(target: "capif::alarm", subscription = prefix, event = %held.record.notification.events,
                "a notification was given up: its receiver did not acknowledge it within events.retention_hours");
            return self.done(&id).await;
        }
        let outcome = self.post(destination.as_str(), &held.record).await;
        if outcome.is_err() && age > ALARM_AGE && !*alarmed {
            *alarmed = true;
            tracing::error!(target: "capif::alarm", subscription = prefix, event = %held.record.notification.events,
                destination = %destination, "a receiver has not acknowledged a notification for over a minute");
        }
        outcome?;
        self.done(&id).await
    }

    async fn done(&self, id: &str) -> Result<bool, String> {
        let mut changes = Changes::new();
        changes.delete::<Notification>(id, Expect::Any);
        self.core
            .store
            .commit(changes)
            .await
            .map(|_| true)
            .map_err(|error| error.to_string())
    }

    /// The lane of a subscriber: that of its provider domain, or its own.
    fn lane(&self, subscriber: &str) -> Arc<Semaphore> {
        let owner = {
            let records = self.core.view.read();
            records.function(subscriber).map_or_else(
                || subscriber.to_owned(),
                |held| held.record.domain_id.to_string(),
            )
        };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= LANES_MAX {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let lane = lanes
            .entry(owner)
            .or_insert_with(|| Arc::new(Semaphore::new(LANE_RECEIVERS_MAX)));
        Arc::clone(lane)
    }

    async fn post(&self, destination: &str, notification: &Notification) -> Result<(), String> {
        let body =
            serde_json::to_vec(&notification.notification).map_err(|error| error.to_string())?;
        let request = Request::post(destination)
            .header(header::CONTENT_TYPE, "application/json")
            .body(full(body))
            .map_err(|error| error.to_string())?;
        let lane = self.lane(&notification.subscriber);
        let _place = lane.acquire().await.map_err(|error| error.to_string())?;
        let _receiver = self
            .receivers
            .acquire()
            .await
            .map_err(|error| error.to_string())?;
        let response = tokio::time::timeout(ANSWER_TIME, self.client.request(request))
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
