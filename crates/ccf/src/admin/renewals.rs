//! The operator asks for renewals, and looks at what ends when.

use std::{collections::BTreeSet, sync::Arc};

use capif_procedures::{
    changes::{Changes, Kind},
    demand::{self, Request},
    refusal::Refusal,
    registration,
    state::{Certificate, DemandReason, Departure, Renewal, Role},
};
use capif_spec::common::{DateTime, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::Duration;
use tokio::task::JoinSet;

use super::operations::{Operation, answer};
use crate::{
    api::problem::ApiError,
    audit::Act,
    core::Core,
    destination::Content,
    store::{self, Page},
    view::Records,
};

/// How many entities are asked at the same time, so that they share the writes of the store.
const AT_ONCE: usize = 64;

/// The shortest and the longest time to follow a demand, in seconds.
const WITHIN_SECONDS: std::ops::RangeInclusive<u64> = 60..=365 * 86_400;

/// How far ahead one looks for what ends, in seconds, when nothing is said: 30 days.
const AHEAD_SECONDS: i64 = 30 * 86_400;

/// How many records of departures are read at a time.
const PAGE: usize = 1000;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/renewals",
        "who is asked to renew, and who is overdue",
        |call| answer(async move { Ok(list(&call.core)) }),
    ),
    Operation::post(
        "/renewals",
        "asks invokers and provider functions to renew",
        |call| answer(async move { ask(&call.core, call.json()?).await }),
    )
    .body(&[
        (
            "ids",
            "invokers, functions, or provider domains with all their functions",
        ),
        ("provider", "all functions of the provider of this name"),
        ("all", "everyone"),
        ("compromise", "whether what they hold may be in other hands"),
        ("withinSeconds", "how long they have for it"),
    ]),
    Operation::get(
        "/expiring",
        "certificates, secrets and enrolments that end soon",
        |call| answer(async move { expiring(&call.core, call.number("withinSeconds")?) }),
    )
    .query(&[("withinSeconds", "how far ahead; 30 days if absent")]),
    Operation::get(
        "/offboarded",
        "who was here, as far as account of it is kept",
        |call| answer(async move { offboarded(&call.core).await }),
    ),
];

/// Asks for renewals: of some entities, of one provider's, or of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRenewals {
    /// Of these API invokers, provider functions, or provider domains with all their functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Of all functions of the provider of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Of everyone.
    #[serde(default)]
    pub all: bool,
    /// Whether what they hold may be in other hands.
    #[serde(default)]
    pub compromise: bool,
    /// How long they have for it, in seconds; as configured if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_seconds: Option<u64>,
}

/// Who was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// They were asked.
    pub asked: Vec<String>,
    /// They never agreed to renew, and cannot be asked.
    pub unable: Vec<String>,
    /// Until when it is to be done.
    pub deadline: DateTime,
}

/// Who is to renew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Invoker(String),
    Function(String),
}

async fn ask(core: &Arc<Core>, wanted: NewRenewals) -> Result<Asked, ApiError> {
    let within = match wanted.within_seconds {
        None => core.config.renewal.within(),
        Some(seconds) if WITHIN_SECONDS.contains(&seconds) => {
            Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
        }
        Some(_) => {
            return Err(Refusal::incorrect(
                "/withinSeconds",
                "the time to renew is from one minute to 365 days",
            )
            .into());
        }
    };
    let now = core.now();
    let deadline = DateTime(now.0 + within);
    let reason = if wanted.compromise {
        DemandReason::Compromise
    } else {
        DemandReason::Operator
    };
    let subjects = subjects(&core.view.read(), &wanted)?;
    let mut answer = Asked {
        asked: Vec::new(),
        unable: Vec::new(),
        deadline: deadline.clone(),
    };
    let mut running = JoinSet::new();
    for subject in subjects {
        if running.len() >= AT_ONCE {
            answer.take(running.join_next().await)?;
        }
        let act = act(&subject, reason, &deadline);
        let core = Arc::clone(core);
        let (now, deadline) = (now.clone(), deadline.clone());
        running.spawn(async move {
            let request = Request {
                reason,
                deadline,
                now: &now,
            };
            let outcome = one(&core, &act, &subject, &request).await;
            (subject, outcome)
        });
    }
    while let Some(done) = running.join_next().await {
        answer.take(Some(done))?;
    }
    answer.asked.sort_unstable();
    answer.unable.sort_unstable();
    Ok(answer)
}

type Done = Result<(Subject, Result<Option<bool>, ApiError>), tokio::task::JoinError>;

impl Asked {
    fn take(&mut self, done: Option<Done>) -> Result<(), ApiError> {
        let Some(Ok((Subject::Invoker(id) | Subject::Function(id), outcome))) = done else {
            return Ok(());
        };
        match outcome? {
            Some(true) => self.asked.push(id),
            Some(false) => self.unable.push(id),
            // Gone meanwhile.
            None => {}
        }
        Ok(())
    }
}

fn act(subject: &Subject, reason: DemandReason, deadline: &DateTime) -> Act {
    let (Subject::Invoker(id) | Subject::Function(id)) = subject;
    let why = match reason {
        DemandReason::Compromise => "compromise",
        _ => "by wish",
    };
    Act::by_operator("Renew", id).detail(format!("{why}, until {deadline}"))
}

/// Asks one: whether it could be asked, or nothing if it is gone.
async fn one(
    core: &Core,
    act: &Act,
    subject: &Subject,
    request: &Request<'_>,
) -> Result<Option<bool>, ApiError> {
    let asked = core
        .transact(act, |records| {
            Ok(match subject {
                Subject::Invoker(id) => {
                    let Some(held) = records.invoker(id) else {
                        return Ok((Changes::new(), None));
                    };
                    let around = demand::Around {
                        context: records.context(id).map(AsRef::as_ref),
                        apis: records.apis(),
                        subscriptions: records.listeners(id),
                    };
                    let destination = held.record.told_at();
                    let told =
                        core.calls_back(records, &held.record.id, destination, Content::Enrolment);
                    let resource = told.then(|| resource(core, id));
                    match demand::ask_invoker(request, held, resource, around) {
                        Some(changes) => (changes, Some(true)),
                        None => (Changes::new(), Some(false)),
                    }
                }
                Subject::Function(id) => match records.function(id) {
                    Some(held) => {
                        let mut changes = demand::ask_function(request, held);
                        // Where keys may be in other hands, so may the bundle that makes new ones.
                        let domain = records.domain(held.record.domain_id.as_str());
                        if request.reason == DemandReason::Compromise
                            && let Some(unbound) =
                                domain.and_then(|held| registration::unbind(held))
                        {
                            changes.steps.extend(unbound.steps);
                        }
                        (changes, Some(true))
                    }
                    None => (Changes::new(), None),
                },
            })
        })
        .await?;
    if asked == Some(true) && request.reason == DemandReason::Compromise {
        let (Subject::Invoker(id) | Subject::Function(id)) = subject;
        core.close_connections_of(id, None);
    }
    Ok(asked)
}

fn resource(core: &Core, id: &str) -> Uri {
    Uri::from(format!(
        "{}/api-invoker-management/v1/onboardedInvokers/{id}",
        core.api_root
    ))
}

/// Finds who is meant; nobody is asked when one of them is not there.
fn subjects(records: &Records, wanted: &NewRenewals) -> Result<BTreeSet<Subject>, Refusal> {
    let ways = [
        !wanted.ids.is_empty(),
        wanted.provider.is_some(),
        wanted.all,
    ];
    if ways.into_iter().filter(|way| *way).count() != 1 {
        return Err(Refusal::incorrect(
            "",
            "say who is to renew: by `ids`, by `provider`, or `all`",
        ));
    }
    let mut found = BTreeSet::new();
    if wanted.all {
        let invokers = records.invokers().map(|invoker| invoker.id.to_string());
        found.extend(invokers.map(Subject::Invoker));
        let functions = records.functions().map(|function| function.id.to_string());
        found.extend(functions.map(Subject::Function));
    }
    for id in &wanted.ids {
        if records.invoker(id).is_some() {
            found.insert(Subject::Invoker(id.clone()));
        } else if records.function(id).is_some() {
            found.insert(Subject::Function(id.clone()));
        } else if let Some(domain) = records.domain(id) {
            let functions = domain.record.functions.iter();
            found.extend(functions.map(|id| Subject::Function(id.to_string())));
        } else {
            return Err(Refusal::NotFound {
                what: "API invoker, provider function or provider domain",
            });
        }
    }
    if let Some(name) = &wanted.provider {
        let domains = records.domains().filter(|domain| domain.name == *name);
        let functions = domains.flat_map(|domain| &domain.functions);
        found.extend(functions.map(|id| Subject::Function(id.to_string())));
        if found.is_empty() {
            return Err(Refusal::NotFound {
                what: "provider domain",
            });
        }
    }
    Ok(found)
}

/// An entity with what it holds.
struct Held<'a> {
    id: &'a str,
    role: Role,
    renewal: &'a Renewal,
    certificate: &'a Certificate,
    secret: Option<&'a DateTime>,
    enrolment: Option<&'a DateTime>,
}

fn held(records: &Records) -> impl Iterator<Item = Held<'_>> {
    let invokers = records.invokers().map(|invoker| Held {
        id: invoker.id.as_str(),
        role: Role::ApiInvoker,
        renewal: &invoker.renewal,
        certificate: &invoker.certificate,
        secret: invoker.secret_expires.as_ref(),
        enrolment: invoker.expires.as_ref(),
    });
    let functions = records.functions().map(|function| Held {
        id: function.id.as_str(),
        role: function.role,
        renewal: &function.renewal,
        certificate: &function.certificate,
        secret: None,
        enrolment: None,
    });
    invokers.chain(functions)
}

/// Who is asked to renew, the earliest deadline first. What follows from another authority is written down nowhere, and stands here
/// all the same.
fn list(core: &Core) -> Vec<Value> {
    let now = core.now();
    let records = core.view.read();
    let asked = held(&records).filter_map(|held| {
        let demand = held.renewal.demand.as_deref().cloned();
        let demand = demand.or_else(|| core.authorities.demand(held.certificate))?;
        Some((demand, held))
    });
    let mut rows: Vec<_> = asked.collect();
    rows.sort_by_key(|(demand, held)| (demand.deadline.0, held.id));
    rows.into_iter()
        .map(|(demand, held)| {
            json!({
                "id": held.id,
                "role": held.role,
                "reason": demand.reason,
                "since": demand.since,
                "deadline": demand.deadline,
                "overdue": demand.deadline <= now,
                "suspended": held.renewal.suspended.is_some(),
                "handedOver": held.renewal.successor.is_some(),
                "certificateEnds": held.certificate.not_after,
                "secretEnds": held.secret,
                "enrolmentEnds": held.enrolment,
            })
        })
        .collect()
}

/// What ends within a time, what has ended included, the earliest first.
fn expiring(core: &Core, within_seconds: Option<u32>) -> Result<Vec<Value>, ApiError> {
    let seconds = within_seconds.map_or(AHEAD_SECONDS, i64::from);
    let until = core.clock.now() + Duration::seconds(seconds);
    let records = core.view.read();
    let mut rows = Vec::new();
    for held in held(&records) {
        let ends = [
            ("certificate", Some(&held.certificate.not_after)),
            ("secret", held.secret),
            ("enrolment", held.enrolment),
        ];
        for (what, ends) in ends {
            if let Some(ends) = ends.filter(|ends| ends.0 <= until) {
                rows.push((ends.0, held.id, held.role, what, held.renewal));
            }
        }
    }
    rows.sort_by_key(|(ends, id, _, what, _)| (*ends, *id, *what));
    let row = |(ends, id, role, what, renewal): (_, &str, Role, &str, &Renewal)| {
        json!({
            "id": id,
            "role": role,
            "what": what,
            "ends": DateTime(ends),
            "renews": renewal.agreed || role != Role::ApiInvoker,
            "handedOver": renewal.successor.is_some(),
        })
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Who was here, as far as account of it is kept, the latest departure last.
async fn offboarded(core: &Core) -> Result<Vec<Value>, ApiError> {
    let mut departures: Vec<Departure> = Vec::new();
    let mut after = None;
    loop {
        let page = Page {
            kind: Kind::Departure,
            prefix: String::new(),
            after: after.take(),
            limit: PAGE,
        };
        let found = core.store.scan(page).await?;
        let Some((last, _)) = found.last() else { break };
        after = Some(last.id.clone());
        for (key, stored) in &found {
            departures.push(store::decode(key, stored)?.record);
        }
    }
    departures.sort_by_key(|departure| departure.offboarded.0);
    let row = |departure: Departure| {
        json!({
            "apiInvokerId": departure.id,
            "onboarded": departure.onboarded,
            "offboarded": departure.offboarded,
            "reason": departure.reason,
            "contexts": departure.contexts,
            "apis": departure.apis,
            "invocations": departure.invocations,
        })
    };
    Ok(departures.into_iter().map(row).collect())
}
