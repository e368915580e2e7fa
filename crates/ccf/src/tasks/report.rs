//! Reports on subscriptions that ask something of them (TS 29.222 clause 5.4.2.2.2): what is next, and what follows from its
//! acknowledgement. Beside that a task keeps what waits within bounds: a subscription whose time is over goes, and of too many
//! notifications that wait under one the oldest are given up.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use capif_procedures::{
    changes::{Change, Changes, Expect, Key, Kind},
    delivery,
    events::{
        GATHERED_MAX, WAITING_MAX,
        reporting::{self, Next, Report},
        unsubscribe,
    },
    state::{Notification, Subscription},
};
use capif_spec::{common::DateTime, events::CapifEvent};
use tokio::sync::watch;

use super::parcel::{self, Found, Parcel};
use crate::{
    api::problem::ApiError,
    core::Core,
    store::{self, Fault},
    view::{Lane, Records},
};

/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(1);

/// How many notifications one commit gives up.
const BATCH: usize = 1000;

/// What is next in a lane.
pub(super) enum Turn {
    /// A report, made from the notifications with these ids.
    Report(Box<Parcel>, Vec<String>),
    /// What these notifications tell is told nobody: there is no way to the subscriber.
    Untold(Vec<String>),
    /// Nothing before then.
    HoldUntil(DateTime),
    /// Nothing any more: the subscription is over.
    Over,
    /// Nothing waits.
    Nothing,
}

/// Whether the reports of a lane have to be looked at before they go out.
pub(super) fn are_asked(records: &Records, lane: &Lane) -> bool {
    let held = records.subscription_of(lane);
    lane.kind == Kind::Notification && held.is_some_and(|held| reporting::is_asked(&held.record))
}

/// Finds out what is next in a lane.
pub(super) async fn turn(core: &Core, lane: &Lane) -> Result<Turn, Fault> {
    let first = load(core, lane, 1).await?;
    let report = match next(core, lane, first) {
        // With what it is to be put together with.
        Some(Next::Report(_)) => next(core, lane, load(core, lane, GATHERED_MAX).await?),
        other => other,
    };
    let Report {
        ids,
        notification,
        due,
    } = match report {
        Some(Next::Report(report)) => *report,
        Some(Next::HoldUntil(until)) => return Ok(Turn::HoldUntil(until)),
        Some(Next::Over) => return Ok(Turn::Over),
        None => return Ok(Turn::Nothing),
    };
    // The last of them names the report: one that has grown since it was sent is another one.
    let last = Key::new(lane.kind, ids.last().cloned().unwrap_or_default());
    let Found::Parcel(mut parcel) = parcel::load(core, &last).await? else {
        return Ok(Turn::Untold(ids));
    };
    // Holds because what was read from JSON can be written as JSON.
    parcel.body = Bytes::from(serde_json::to_vec(&notification).unwrap_or_default());
    // What was held back on purpose is not late.
    parcel.raised = due.max(parcel.raised);
    Ok(Turn::Report(parcel, ids))
}

async fn load(
    core: &Core,
    lane: &Lane,
    count: usize,
) -> Result<Vec<(String, Notification)>, Fault> {
    let ids = core.view.read().first_in(lane, count);
    let mut waiting = Vec::with_capacity(ids.len());
    for id in ids {
        // A test that was asked for meanwhile goes out by itself.
        if delivery::is_test(&Key::new(lane.kind, id.as_str())) {
            continue;
        }
        let held = store::load::<Notification>(core.store.as_ref(), &id).await?;
        waiting.extend(held.map(|held| (id, held.record)));
    }
    Ok(waiting)
}

fn next(core: &Core, lane: &Lane, waiting: Vec<(String, Notification)>) -> Option<Next> {
    let records = core.view.read();
    let held = &records.subscription_of(lane)?.record;
    let progress = records.reporting(&held.subscriber, &held.id);
    let progress = progress.map(|held| &held.record);
    reporting::next(held, progress, waiting, &core.now())
}

/// Counts a report that was acknowledged, and removes what it was made from.
pub(super) async fn reported(core: &Core, lane: &Lane, ids: &[String]) -> Result<(), ApiError> {
    core.tend(|records| {
        let changes = records.subscription_of(lane).map(|held| {
            let progress = records.reporting(&held.record.subscriber, &held.record.id);
            reporting::reported(held, progress.map(AsRef::as_ref), ids)
        });
        Ok((changes.unwrap_or_default(), ()))
    })
    .await
}

/// Removes what was too old to be offered, or is told nobody. It was no report.
pub(super) async fn given_up(core: &Core, lane: &Lane, ids: &[String]) -> Result<(), ApiError> {
    core.housekeep(removal(lane, ids)).await
}

fn removal(lane: &Lane, ids: &[String]) -> Changes {
    let steps = ids.iter().map(|id| Change::Delete {
        key: Key::new(lane.kind, id),
        expect: Expect::Any,
    });
    Changes {
        steps: steps.collect(),
    }
}

/// Ends the subscription of a lane, if it is over.
pub(super) async fn end(core: &Core, lane: &Lane) -> Result<(), ApiError> {
    let ended = core
        .tend(|records| {
            let held = records.subscription_of(lane);
            let over = held.filter(|held| is_over(core, records, &held.record));
            let changes = over.map(|held| unsubscribe(held));
            let ended = changes.is_some();
            Ok((changes.unwrap_or_default(), ended))
        })
        .await?;
    if ended {
        tracing::info!(lane = lane.prefix, "a subscription is over");
    }
    Ok(())
}

/// Runs until stopped.
pub(super) async fn run(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let mut full = HashSet::new();
    loop {
        if let Err(error) = tend(&core, &mut full).await {
            tracing::warn!(%error, "subscriptions were not tended");
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
}

async fn tend(core: &Core, full: &mut HashSet<Lane>) -> Result<(), ApiError> {
    for lane in over(core) {
        end(core, &lane).await?;
    }
    let lanes = {
        let records = core.view.read();
        let lanes = records.waiting();
        let own = lanes.filter(|lane| lane.kind == Kind::Notification);
        own.filter(|lane| records.waiting_in(lane) > WAITING_MAX)
            .cloned()
            .collect::<HashSet<Lane>>()
    };
    full.retain(|lane| lanes.contains(lane));
    for lane in lanes {
        give_up(core, &lane).await?;
        if full.insert(lane.clone()) {
            tracing::error!(
                target: "capif::alarm",
                lane = lane.prefix,
                most = WAITING_MAX,
                "too many notifications wait for a subscriber: the oldest are given up"
            );
        }
    }
    Ok(())
}

/// The lanes of subscriptions that are over.
fn over(core: &Core) -> Vec<Lane> {
    let records = core.view.read();
    let over = records
        .subscriptions()
        .filter(|held| is_over(core, &records, held));
    over.map(lane_of).collect()
}

/// Whether a subscription is over: its reports are used up, or its time is, and what waited was told or is told no more.
fn is_over(core: &Core, records: &Records, held: &Subscription) -> bool {
    let now = core.now();
    let progress = records.reporting(&held.subscriber, &held.id);
    reporting::is_over(held, progress.map(|held| &held.record), &now)
        || (reporting::has_ended(held, &now) && records.waiting_in(&lane_of(held)) == 0)
}

fn lane_of(held: &Subscription) -> Lane {
    let prefix = Notification::prefix(&held.subscriber, &held.id);
    Lane::new(Kind::Notification, prefix)
}

/// Removes the oldest of what waits in a lane beyond its bound, but for what takes access away: nobody is to push that out by
/// causing other events. Beyond twice the bound even that goes.
async fn give_up(core: &Core, lane: &Lane) -> Result<(), ApiError> {
    let (waiting, oldest) = {
        let records = core.view.read();
        let waiting = records.waiting_in(lane);
        (waiting, records.first_in(lane, waiting))
    };
    let mut excess = waiting.saturating_sub(WAITING_MAX);
    let must = waiting.saturating_sub(2 * WAITING_MAX);
    let mut given_up = Vec::new();
    for (at, id) in oldest.into_iter().enumerate() {
        if excess == 0 {
            break;
        }
        if at < must || !takes_access_away(core, &id).await? {
            given_up.push(id);
            excess -= 1;
        }
    }
    for batch in given_up.chunks(BATCH) {
        core.housekeep(removal(lane, batch)).await?;
    }
    Ok(())
}

/// Whether a notification tells that somebody lost access.
async fn takes_access_away(core: &Core, id: &str) -> Result<bool, ApiError> {
    let held = store::load::<Notification>(core.store.as_ref(), id).await?;
    Ok(held.is_some_and(|held| {
        matches!(
            held.record.notification.events,
            CapifEvent::ApiInvokerOffboarded | CapifEvent::ApiInvokerAuthorizationRevoked
        )
    }))
}
