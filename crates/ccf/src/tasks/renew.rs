//! What time does to entities: old material retires, enrolments end, demands are overdue, and a person is told of what ends soon.
//!
//! Time is the injected clock's, looked at several times a second and whenever something comes up that is due earlier than all
//! before. Nothing here decides what counts: that is judged at each use, exactly. This carries out what follows from it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use capif_procedures::{
    changes::Kind,
    demand, offboarding,
    refusal::Refusal,
    registration, rotation,
    state::{DepartureReason, Digest},
};
use capif_spec::common::DateTime;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    agenda::{self, Due, Matter},
    api::{approval, problem::ApiError},
    audit::Act,
    config::Overdue,
    core::Core,
    view::Records,
};

/// How often the clock is looked at.
const PERIOD: Duration = Duration::from_millis(250);

/// The pause after a failure: the store is full, or cannot be written.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// How many entities one round takes up in each matter.
const BATCH: usize = 1000;

/// How many of them at the same time, so that they share the writes of the store.
const AT_ONCE: usize = 64;

/// Of how many entities one round speaks by name.
const NAMED_MAX: usize = 100;

/// Runs until stopped.
pub(super) async fn run(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let earlier = Arc::clone(core.view.earlier());
    let mut warned = None;
    loop {
        let pause = match round(&core, &mut warned).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => PERIOD,
            Err(error) => {
                tracing::warn!(error = %error.log(), "what is due was not done");
                FAILURE_PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = earlier.notified() => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
}

/// Does what is due now; whether there is more.
async fn round(core: &Arc<Core>, warned: &mut Option<DateTime>) -> Result<bool, ApiError> {
    let now = core.now();
    let mut more = false;
    let of_overdue: &[Matter] = match core.config.renewal.overdue {
        Overdue::List => &[],
        Overdue::Suspend => &[Matter::Deadline],
        Overdue::Offboard => &[Matter::Deadline, Matter::Lapse],
    };
    let always = [Matter::Retirement, Matter::Expiry];
    for matter in always.iter().chain(of_overdue).copied() {
        let found: Vec<Due> = {
            let records = core.view.read();
            let due = records.agenda().due(matter, now.0);
            due.take(BATCH).cloned().collect()
        };
        more |= found.len() == BATCH;
        carry_out(core, matter, found, &now).await?;
    }
    warn(core, warned.as_ref(), &now);
    *warned = Some(now);
    Ok(more)
}

async fn carry_out(
    core: &Arc<Core>,
    matter: Matter,
    found: Vec<Due>,
    now: &DateTime,
) -> Result<(), ApiError> {
    let mut running = JoinSet::new();
    let mut outcome = Ok(());
    for due in found {
        if running.len() >= AT_ONCE {
            outcome = outcome.and(joined(running.join_next().await));
        }
        let core = Arc::clone(core);
        let now = now.clone();
        running.spawn(async move {
            match matter {
                Matter::Retirement => retire(&core, &due, &now).await,
                Matter::Expiry if due.kind == Kind::PendingEnrolment => {
                    approval::lapse(&core, &due.id, &now).await
                }
                Matter::Expiry => {
                    let reason = DepartureReason::Expired;
                    offboard(&core, &due.id, reason, &now).await
                }
                Matter::Deadline | Matter::Lapse => overdue(&core, &due.id, &now).await,
                Matter::Warning => Ok(()),
            }
        });
    }
    while let Some(done) = running.join_next().await {
        outcome = outcome.and(joined(Some(done)));
    }
    outcome
}

fn joined(
    done: Option<Result<Result<(), ApiError>, tokio::task::JoinError>>,
) -> Result<(), ApiError> {
    match done {
        Some(Ok(outcome)) => outcome,
        // Ended with the runtime.
        Some(Err(_)) | None => Ok(()),
    }
}

/// Ends what has retired, and the connections under it (R-U-06).
async fn retire(core: &Core, due: &Due, now: &DateTime) -> Result<(), ApiError> {
    let act = Act::by_task("Retire", due.id.as_ref());
    let ended = core
        .transact(&act, |records| {
            Ok(match due.kind {
                Kind::Invoker => retire_invoker(records, &due.id, now),
                _ => {
                    let held = records.function(&due.id);
                    held.and_then(|held| registration::end_overlap(held, now))
                }
            }
            .unwrap_or_default())
        })
        .await?;
    core.close_connections_under(&ended);
    Ok(())
}

fn retire_invoker(
    records: &Records,
    id: &str,
    now: &DateTime,
) -> Option<(capif_procedures::changes::Changes, Vec<Digest>)> {
    let around = rotation::Around {
        context: records.context(id).map(AsRef::as_ref),
        circle: records.circle(id),
        subscriptions: records.listeners(id),
    };
    rotation::end_overlap(records.invoker(id)?, around, now)
}

/// Offboards an invoker whose time is over, by the same path as everyone else (R-6.8-14).
async fn offboard(
    core: &Core,
    id: &str,
    reason: DepartureReason,
    now: &DateTime,
) -> Result<(), ApiError> {
    let act = Act::by_task("Offboard", id).detail(reason.as_str());
    let gone = core
        .transact(&act, |records| {
            // Renewed meanwhile, or gone by itself.
            let over = |held: &capif_procedures::state::Invoker| match reason {
                DepartureReason::Expired => rotation::is_over(held, now),
                _ => held.renewal.is_overdue(now),
            };
            let held = records.invoker(id).filter(|held| over(&held.record));
            Ok(match held {
                Some(held) => {
                    let leave = core.leave(reason);
                    let around = records.around(id);
                    (offboarding::offboard(held, around, leave, now), true)
                }
                None => Default::default(),
            })
        })
        .await?;
    if gone {
        core.close_connections_of(id, None);
        tracing::info!(id, reason = reason.as_str(), "an API invoker is offboarded");
    }
    Ok(())
}

/// Does what policy says of an invoker that was asked to renew and did not.
async fn overdue(core: &Core, id: &str, now: &DateTime) -> Result<(), ApiError> {
    match core.config.renewal.overdue {
        Overdue::List => Ok(()),
        Overdue::Offboard => offboard(core, id, DepartureReason::Overdue, now).await,
        Overdue::Suspend => {
            let act = Act::by_task("Suspend", id).detail("did not renew by the deadline");
            core.transact(&act, |records| {
                let held = records.invoker(id).ok_or(Refusal::NotFound {
                    what: "API invoker",
                });
                let around = demand::Around {
                    context: records.context(id).map(AsRef::as_ref),
                    apis: records.apis(),
                    subscriptions: records.listeners(id),
                };
                let changes = held.map(|held| demand::suspend(held, around, now));
                Ok((changes.unwrap_or_default(), ()))
            })
            .await
        }
    }
}

/// Tells a person of what came due for that since the last time, each entity once.
fn warn(core: &Core, since: Option<&DateTime>, now: &DateTime) {
    let records = core.view.read();
    let since = since.map(|since| since.0);
    let found: BTreeSet<(Kind, &str)> = records
        .agenda()
        .due_since(Matter::Warning, since, now.0)
        .map(|due| (due.kind, due.id.as_ref()))
        .collect();
    for (kind, id) in found.iter().take(NAMED_MAX) {
        if let Some(warning) = warning(&records, *kind, id, now) {
            tracing::error!(target: "capif::alarm", id, ends = %warning.ends, renews = warning.renews,
                "{}", warning.text);
        }
    }
    if found.len() > NAMED_MAX {
        tracing::error!(target: "capif::alarm", more = found.len() - NAMED_MAX,
            "more certificates, secrets or enrolments end soon, or were not renewed in time: \
             see `capif list expiring` and `capif list renewals`");
    }
}

struct Warning {
    text: &'static str,
    ends: DateTime,
    renews: bool,
}

fn warning(records: &Records, kind: Kind, id: &str, now: &DateTime) -> Option<Warning> {
    let (renewal, certificate, secret, enrolment) = match kind {
        Kind::Invoker => {
            let held = &records.invoker(id)?.record;
            let secret = held.secret_expires.as_ref();
            (
                &held.renewal,
                &held.certificate,
                secret,
                held.expires.as_ref(),
            )
        }
        _ => {
            let held = &records.function(id)?.record;
            (&held.renewal, &held.certificate, None, None)
        }
    };
    let renews = renewal.agreed || kind != Kind::Invoker;
    if let Some(demand) = renewal.demand.as_ref().filter(|_| renewal.is_overdue(now)) {
        return Some(Warning {
            text: "a renewal was asked for and is overdue",
            ends: demand.deadline.clone(),
            renews,
        });
    }
    let material = agenda::first_end(certificate, secret);
    let (ends, ended, soon) = match enrolment.filter(|enrolment| *enrolment < material) {
        Some(ends) => (ends, "an enrolment has ended", "an enrolment ends soon"),
        None => (
            material,
            "a certificate or secret has ended and was not renewed",
            "a certificate or secret ends soon and was not renewed",
        ),
    };
    Some(Warning {
        text: if ends <= now { ended } else { soon },
        ends: ends.clone(),
        renews,
    })
}
