//! What the operator can look at. No secret, digest of a secret or credential is ever listed.

use std::ops::ControlFlow;

use capif_procedures::{
    auditing::Criteria,
    changes::{Key, Kind},
    state::{Bars, Callback, Notification, Reporting, Subscription},
};
use capif_spec::common::{AefId, ApiInvokerId, ApiProviderFunctionId, DateTime};
use serde_json::{Value, json};

use super::operations::{Call, Operation, answer, query_refusal};
use crate::{
    api::problem::ApiError,
    core::Core,
    log_book, store,
    tasks::{
        notify::ALARM_AGE,
        parcel::{self, Found, Parcel},
    },
    view::Lane,
};

/// How many log entries one listing shows.
const LOGS_MAX: usize = 1000;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get("/invokers", "the onboarded API invokers", |call| {
        answer(async move { Ok(invokers(&call.core)) })
    }),
    Operation::get("/providers", "the registered provider domains", |call| {
        answer(async move { Ok(providers(&call.core)) })
    }),
    Operation::get("/apis", "the published service APIs", |call| {
        answer(async move { Ok(apis(&call.core)) })
    }),
    Operation::get(
        "/contexts",
        "what invokers negotiated: which method at which AEF",
        |call| answer(async move { Ok(contexts(&call.core)) }),
    ),
    Operation::get(
        "/events",
        "the event subscriptions, and how many notifications wait",
        |call| answer(async move { Ok(events(&call.core)) }),
    ),
    Operation::get(
        "/subscriptions",
        "the event subscriptions with all that was agreed on, and since when what waits for each",
        |call| answer(async move { subscriptions(&call.core).await }),
    ),
    Operation::get(
        "/notifications",
        "what waits for whom, and since when: events, revocations, callbacks",
        |call| answer(async move { notifications(&call.core).await }),
    ),
    Operation::get(
        "/alarms",
        "who has not acknowledged a notification or revocation for over a minute",
        |call| answer(async move { alarms(&call.core).await }),
    ),
    Operation::get("/logs", "the invocations that AEFs reported", |call| {
        answer(async move { logs(&call).await })
    })
    .query(&[
        ("aef", "only what this AEF reported"),
        ("invoker", "only calls of this invoker"),
        ("api", "only calls of APIs of this name"),
        ("apiId", "only calls of the API of this id"),
        ("result", "only calls that ended so, like 200"),
        ("from", "only calls from this time on"),
        ("to", "only calls until this time"),
        ("after", "only what follows the entry of this id"),
    ]),
];

fn invokers(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    let mut rows: Vec<_> = records.invokers().collect();
    rows.sort_by_key(|invoker| invoker.onboarded.0);
    rows.into_iter()
        .map(|invoker| {
            json!({
                "apiInvokerId": invoker.id,
                "onboarded": invoker.onboarded,
                "certificateEnds": invoker.certificate.not_after,
                "issuer": invoker.issuer,
                "apis": invoker.reach.api_names,
                "barred": barred(&invoker.bars),
                "waiting": records.waiting_in(&Lane::new(
                    Kind::Callback,
                    Callback::prefix(invoker.id.as_str()),
                )),
                "information": invoker.information,
            })
        })
        .collect()
}

/// What the operator shut an invoker out of: `all`, the ids of APIs, or nothing.
fn barred(bars: &Bars) -> Value {
    if bars.all {
        json!("all")
    } else if bars.is_empty() {
        Value::Null
    } else {
        json!(bars.apis)
    }
}

fn providers(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    records
        .domains()
        .map(|domain| {
            let functions: Vec<Value> = domain
                .functions
                .iter()
                .filter_map(|id| records.function(id.as_str()))
                .map(|held| {
                    json!({
                        "id": held.record.id,
                        "role": held.record.role,
                        "certificateEnds": held.record.certificate.not_after,
                    })
                })
                .collect();
            json!({
                "apiProvDomId": domain.id,
                "name": domain.name,
                "registered": domain.registered,
                "issuer": domain.issuer,
                "reusableUntil": domain.reuse.as_ref().map(|reuse| &reuse.until),
                "logEntries": log_entries(core, &domain.functions),
                "functions": functions,
            })
        })
        .collect()
}

/// How many invocation log entries of these functions there are, if they were counted.
fn log_entries(core: &Core, functions: &[ApiProviderFunctionId]) -> Option<usize> {
    let ids = functions.iter().map(|id| AefId::new(id.as_str()));
    ids.map(|id| core.log_book.held(&id)).sum()
}

fn apis(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    records
        .apis()
        .map(|api| {
            let profiles: Vec<Value> = api
                .description
                .aef_profiles
                .iter()
                .flatten()
                .map(|profile| {
                    json!({
                        "aefId": profile.aef_id,
                        "securityMethods": capif_procedures::security_method::methods_of(profile),
                        "interfaceDescriptions": profile.interface_descriptions,
                        "domainName": profile.domain_name,
                    })
                })
                .collect();
            json!({
                "apiId": api.id,
                "apiName": api.description.api_name,
                "apiProvDomId": api.domain_id,
                "apfId": api.apf_id,
                "hiddenBy": api.hidden_by,
                "aefProfiles": profiles,
            })
        })
        .collect()
}

fn contexts(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    records
        .contexts()
        .flat_map(|context| {
            context.entries.iter().map(|entry| {
                json!({
                    "apiInvokerId": context.invoker_id,
                    "aefId": entry.aef_id,
                    "apiId": entry.api_id,
                    "selSecurityMethod": entry.information.sel_security_method,
                    "generation": context.generation,
                })
            })
        })
        .collect()
}

fn events(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    records
        .subscriptions()
        .map(|subscription| {
            let prefix = Notification::prefix(&subscription.subscriber, &subscription.id);
            json!({
                "subscriptionId": subscription.id,
                "subscriber": subscription.subscriber,
                "role": subscription.role,
                "events": subscription.subscription.events,
                "notificationDestination": subscription.subscription.notification_destination,
                "waiting": records.waiting_in(&Lane::new(Kind::Notification, prefix)),
            })
        })
        .collect()
}

/// The first message that waits in a place, and how many there are.
struct Waiting {
    lane: Lane,
    parcel: Box<Parcel>,
    count: usize,
}

impl Waiting {
    fn row(&self) -> Value {
        json!({
            "receiver": self.parcel.receiver,
            "lane": self.lane.prefix,
            "what": self.parcel.what(),
            "destination": self.parcel.destination(),
            "since": self.parcel.raised,
            "waiting": self.count,
        })
    }
}

/// What waits for whom. Whoever gives no place to be told at, or is not to be told by the operator's own choice, waits for nothing.
async fn waiting(core: &Core) -> Result<Vec<Waiting>, ApiError> {
    let lanes: Vec<(Lane, Key, usize)> = {
        let records = core.view.read();
        records
            .waiting()
            .filter_map(|lane| {
                let key = Key::new(lane.kind, records.next_in(lane)?);
                Some((lane.clone(), key, records.waiting_in(lane)))
            })
            .collect()
    };
    let mut rows = Vec::new();
    for (lane, key, count) in lanes {
        if let Found::Parcel(parcel) = parcel::load(core, &key).await? {
            rows.push(Waiting {
                lane,
                parcel,
                count,
            });
        }
    }
    Ok(rows)
}

/// Receivers that owe an acknowledgement for too long, each with the oldest message that waits for it.
async fn alarms(core: &Core) -> Result<Vec<Value>, ApiError> {
    let now = core.clock.now();
    let mut rows = waiting(core).await?;
    rows.retain(|row| row.parcel.alarms && now - row.parcel.raised.0 > ALARM_AGE);
    Ok(rows.iter().map(Waiting::row).collect())
}

/// All receivers for which something waits, the one that waits for longest first.
async fn notifications(core: &Core) -> Result<Vec<Value>, ApiError> {
    let mut rows = waiting(core).await?;
    rows.sort_by_key(|row| row.parcel.raised.0);
    Ok(rows.iter().map(Waiting::row).collect())
}

/// The subscriptions with everything that was agreed on.
async fn subscriptions(core: &Core) -> Result<Vec<Value>, ApiError> {
    let held: Vec<(Subscription, usize, Option<Key>)> = {
        let records = core.view.read();
        records
            .subscriptions()
            .map(|held| {
                let prefix = Notification::prefix(&held.subscriber, &held.id);
                let lane = Lane::new(Kind::Notification, prefix);
                let first = records.next_in(&lane);
                let first = first.map(|id| Key::new(Kind::Notification, id));
                (held.clone(), records.waiting_in(&lane), first)
            })
            .collect()
    };
    let mut rows = Vec::new();
    for (held, waiting, first) in held {
        let oldest = match first {
            Some(key) => match parcel::load(core, &key).await? {
                Found::Parcel(parcel) => Some(parcel.raised.clone()),
                Found::Nothing => None,
            },
            None => None,
        };
        let delivered = match &held.subscription.event_req {
            Some(_) => {
                let id = Reporting::id(&held.subscriber, &held.id);
                let progress = store::load::<Reporting>(core.store.as_ref(), &id).await?;
                progress.map(|progress| progress.record.delivered)
            }
            None => None,
        };
        rows.push(json!({
            "subscriptionId": held.id,
            "subscriber": held.subscriber,
            "role": held.role,
            "events": held.subscription.events,
            "eventFilters": held.subscription.event_filters,
            "eventReq": held.subscription.event_req,
            "delivered": delivered,
            "notificationDestination": held.subscription.notification_destination,
            "websocket": held.subscription.websock_notif_config.is_some(),
            "supportedFeatures": held.subscription.supported_features,
            "waiting": waiting,
            "since": oldest,
        }));
    }
    Ok(rows)
}

/// What AEFs reported, in the order of AEFs and reports, at most a thousand.
async fn logs(call: &Call) -> Result<Vec<Value>, ApiError> {
    let time = |name: &str| {
        let parsed = call.query(name).map(str::parse::<DateTime>).transpose();
        parsed.map_err(|_| query_refusal(name, format!("`{name}` is a time")))
    };
    let criteria = Criteria {
        api_invoker_id: call.query("invoker").map(ApiInvokerId::new),
        api_name: call.query("api").map(str::to_owned),
        api_id: call.query("apiId").map(str::to_owned),
        result: call.query("result").map(str::to_owned),
        time_range_start: time("from")?,
        time_range_end: time("to")?,
        ..Criteria::default()
    };
    let core = &call.core;
    let mut after = call.query("after").map(str::to_owned);
    let mut rows = Vec::new();
    loop {
        let aef = match (call.query("aef"), &after) {
            (Some(aef), _) => AefId::new(aef),
            // Goes on within the AEF of the last entry, which may have more.
            (None, Some(id)) if !id.ends_with('~') && id.contains('/') => {
                AefId::new(id.split('/').next().unwrap_or_default())
            }
            (None, _) => match log_book::next_aef(core, after.take()).await? {
                Some(aef) => aef,
                None => break,
            },
        };
        let from = after.take();
        let found = log_book::search(core, &aef, from, &criteria, |id, entry| {
            rows.push(json!({
                "id": id,
                "aefId": entry.aef_id,
                "apiInvokerId": entry.api_invoker_id,
                "received": entry.received,
                "log": entry.log,
            }));
            Ok(match rows.len() {
                LOGS_MAX => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
        });
        if found.await?.is_break() || call.query("aef").is_some() {
            break;
        }
        after = Some(log_book::behind_all(&aef));
    }
    Ok(rows)
}
