//! What the operator can look at. No secret, digest of a secret or credential is ever listed.

use std::sync::Arc;

use capif_procedures::{
    changes::{Key, Kind},
    state::{Bars, Callback, InvocationLogEntry, Notification},
};
use capif_transport::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{access, renewals};
use crate::{
    api::{json_answer, problem::ApiError},
    core::Core,
    store::{self, Page},
    tasks::{
        notify::ALARM_AGE,
        parcel::{self, Found},
    },
    view::Lane,
};

/// How many log entries one listing shows.
const LOGS_MAX: usize = 1000;

/// Answers one listing.
pub(super) async fn list(
    core: &Arc<Core>,
    what: &str,
    query: Option<&str>,
) -> Result<Response<Body>, ApiError> {
    let rows = match what {
        "invokers" => invokers(core),
        "providers" => providers(core),
        "apis" => apis(core),
        "contexts" => contexts(core),
        "events" => events(core),
        "policies" => access::list(core),
        "usage" => access::usage(core),
        "alarms" => alarms(core).await?,
        "renewals" => renewals::list(core),
        "expiring" => renewals::expiring(core, query)?,
        "offboarded" => renewals::offboarded(core).await?,
        "logs" => logs(core, query).await?,
        _ => return Err(ApiError::UnknownPath),
    };
    json_answer(StatusCode::OK, &rows)
}

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
                "functions": functions,
            })
        })
        .collect()
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

/// Receivers that owe an acknowledgement for too long, each with the oldest message that waits for it.
async fn alarms(core: &Core) -> Result<Vec<Value>, ApiError> {
    let waiting: Vec<(Lane, Key, usize)> = {
        let records = core.view.read();
        records
            .waiting()
            .filter_map(|lane| {
                let key = Key::new(lane.kind, records.next_in(lane)?);
                Some((lane.clone(), key, records.waiting_in(lane)))
            })
            .collect()
    };
    let now = core.clock.now();
    let mut rows = Vec::new();
    for (lane, key, count) in waiting {
        // Whoever gives no place to be told at, or is the operator's own choice not to be told, is no alarm.
        let Found::Parcel(parcel) = parcel::load(core, &key).await? else {
            continue;
        };
        if parcel.alarms && now - parcel.raised.0 > ALARM_AGE {
            rows.push(json!({
                "receiver": parcel.receiver,
                "lane": lane.prefix,
                "what": parcel.what,
                "destination": parcel.destination,
                "since": parcel.raised,
                "waiting": count,
            }));
        }
    }
    Ok(rows)
}

/// `?after=ID` continues a listing; `?aef=ID` keeps to one AEF.
async fn logs(core: &Core, query: Option<&str>) -> Result<Vec<Value>, ApiError> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query.unwrap_or_default()).unwrap_or_default();
    let value = |name: &str| {
        pairs
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    };
    let page = Page {
        kind: Kind::InvocationLog,
        prefix: value("aef")
            .map(|aef| format!("{aef}/"))
            .unwrap_or_default(),
        after: value("after"),
        limit: LOGS_MAX,
    };
    let found = core.store.scan(page).await?;
    Ok(found
        .into_iter()
        .filter_map(|(key, stored)| {
            let entry: InvocationLogEntry = store::decode(&key, &stored).ok()?.record;
            Some(json!({
                "id": key.id,
                "aefId": entry.aef_id,
                "apiInvokerId": entry.api_invoker_id,
                "received": entry.received,
                "log": entry.log,
            }))
        })
        .collect())
}
