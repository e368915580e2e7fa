//! What happened: the event, whom it is meant for, and the single things that it is about.

use capif_spec::{
    access_control_policy::ApiInvokerPolicy,
    api_invoker_management::OnboardingCriteria,
    common::{AefId, ApiInvokerId, ApiProviderDomainId, ServiceApiId},
    events::{
        AccessControlPolicyListExt, ApiInvokerCount, CapifEvent, CapifEventDetail, DiscoveryCount,
        TopologyHiding,
    },
    logging::{InvocationLog, Log},
    publish_service::ServiceApiDescription,
};

use super::{Circle, TRUST_UPDATED};
use crate::state::{ApiReach, ServiceApi};

/// How many calls one event tells of; more are told in several.
pub const LOGS_MAX: usize = 100;

/// An event that happened.
#[derive(Clone, Debug)]
pub struct Occurrence {
    pub(super) event: CapifEvent,
    pub(super) audience: Audience,
    /// What it is about: a subscriber is told of those things that lie within its reach and that its filter lets through, and
    /// nothing at all where none does.
    pub(super) items: Vec<Item>,
}

#[cfg(test)]
impl Occurrence {
    /// What happened.
    pub(crate) fn event(&self) -> &CapifEvent {
        &self.event
    }
}

/// Whom an event is meant for, within the reach of each.
#[derive(Clone, Debug)]
pub(super) enum Audience {
    /// Whoever subscribed.
    Everyone,
    /// One AEF.
    Aef(AefId),
    /// Functions around an invoker, and that invoker.
    Circle(Circle),
}

/// One thing that an event is about, with what reach and filters look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Item {
    pub(super) invoker: Option<ApiInvokerId>,
    pub(super) api: Option<Place>,
    pub(super) aef: Option<AefId>,
    pub(super) told: Told,
}

/// Where an API stands: what its reach is judged by.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) id: ServiceApiId,
    domain: ApiProviderDomainId,
    name: String,
}

impl Place {
    fn of(api: &ServiceApi) -> Self {
        Self {
            id: api.id.clone(),
            domain: api.domain_id.clone(),
            name: api.description.api_name.clone(),
        }
    }

    /// Whether it lies within reach.
    pub(super) fn is_within(&self, reach: &ApiReach) -> bool {
        reach.admits(&self.domain, &self.name)
    }
}

/// What is said of one thing.
#[derive(Clone, Debug, Default)]
pub(super) enum Told {
    /// That it happened.
    #[default]
    Nothing,
    /// The ids of API, with its description if the subscriber follows the state of APIs, and of the invoker, as far as there are
    /// any.
    Ids(Option<Box<ServiceApiDescription>>),
    /// The description of the API.
    Description(Box<ServiceApiDescription>),
    /// The access control policies of the API.
    Policies(AccessControlPolicyListExt),
    /// One call.
    Call(Box<Log>),
    /// What the AEF hides.
    Hiding(Box<TopologyHiding>),
    /// Criteria that were not met, with the ids.
    Criteria(Vec<OnboardingCriteria>),
    /// How many enrolments.
    Onboarded(u64),
    /// How many discoveries.
    Discovered(Box<DiscoveryCount>),
}

/// An event about an API invoker.
#[must_use]
pub fn of_invoker(event: CapifEvent, id: &ApiInvokerId, circle: Circle) -> Occurrence {
    Occurrence {
        event,
        audience: Audience::Circle(circle),
        items: vec![item_of(id)],
    }
}

/// The event that an invoker negotiated away what it had at an AEF, for this AEF alone.
#[must_use]
pub fn of_negotiation(id: &ApiInvokerId, aef: &AefId) -> Occurrence {
    for_aef(CapifEvent::ApiInvokerUpdated, id, aef)
}

/// An event about an invoker for one AEF alone.
pub(super) fn for_aef(event: CapifEvent, id: &ApiInvokerId, aef: &AefId) -> Occurrence {
    Occurrence {
        event,
        audience: Audience::Aef(aef.clone()),
        items: vec![item_of(id)],
    }
}

fn item_of(id: &ApiInvokerId) -> Item {
    Item {
        invoker: Some(id.clone()),
        told: Told::Ids(None),
        ..Item::default()
    }
}

/// The event that an invoker lost authorization: for these APIs, or for all that the AEFs of the circle granted it.
#[must_use]
pub fn of_revocation(
    id: &ApiInvokerId,
    apis: Option<Vec<ServiceApi>>,
    circle: Circle,
) -> Occurrence {
    let items = match apis {
        None => vec![item_of(id)],
        Some(apis) => apis
            .iter()
            .map(|api| Item {
                api: Some(Place::of(api)),
                ..item_of(id)
            })
            .collect(),
    };
    Occurrence {
        event: CapifEvent::ApiInvokerAuthorizationRevoked,
        audience: Audience::Circle(circle),
        items,
    }
}

/// The event that it changed by whom certificates and access tokens are believed.
#[must_use]
pub fn of_trust() -> Occurrence {
    Occurrence {
        event: CapifEvent::from(TRUST_UPDATED),
        audience: Audience::Everyone,
        items: vec![Item::default()],
    }
}

/// An event about the access control policies of an API, for one of its AEFs. `changed` is the invoker whose policy it is;
/// everyone's if absent. Without a list the AEF has to ask for it.
#[must_use]
pub fn of_policies(
    event: CapifEvent,
    api: &ServiceApi,
    aef: &AefId,
    changed: Option<&ApiInvokerId>,
    list: Option<Vec<ApiInvokerPolicy>>,
) -> Occurrence {
    let policies = AccessControlPolicyListExt {
        api_id: api.id.clone(),
        api_invoker_policies: list,
        extra: Default::default(),
    };
    Occurrence {
        event,
        audience: Audience::Aef(aef.clone()),
        items: vec![Item {
            invoker: changed.cloned(),
            api: Some(Place::of(api)),
            aef: Some(aef.clone()),
            told: Told::Policies(policies),
        }],
    }
}

/// An event about a service API: its id, and for an update its description.
#[must_use]
pub fn of_api(event: CapifEvent, api: &ServiceApi) -> Occurrence {
    let view = Box::new(crate::discovery::view(api));
    let told = if event == CapifEvent::ServiceApiUpdate {
        Told::Description(view)
    } else {
        Told::Ids(Some(view))
    };
    Occurrence {
        event,
        audience: Audience::Everyone,
        items: vec![of_place(api, told)],
    }
}

/// The same with nothing said of the API: for whoever only asks who hears of it.
pub(super) fn bare(event: CapifEvent, api: &ServiceApi) -> Occurrence {
    Occurrence {
        event,
        audience: Audience::Everyone,
        items: vec![of_place(api, Told::Nothing)],
    }
}

fn of_place(api: &ServiceApi, told: Told) -> Item {
    Item {
        api: Some(Place::of(api)),
        told,
        ..Item::default()
    }
}

/// An event about the topology that an AEF hides of an API, for this AEF alone (TS 29.222 clause 5.3.2.2).
#[must_use]
pub fn of_hiding(
    event: CapifEvent,
    api: &ServiceApi,
    aef: &AefId,
    hiding: TopologyHiding,
) -> Occurrence {
    Occurrence {
        event,
        audience: Audience::Aef(aef.clone()),
        items: vec![Item {
            aef: Some(aef.clone()),
            ..of_place(api, Told::Hiding(Box::new(hiding)))
        }],
    }
}

/// The event that criteria of onboarding were not met, for the functions of the domains of the APIs that were wanted. The invoker is
/// named once it has an id.
#[must_use]
pub fn of_failed_criteria(
    invoker: Option<&ApiInvokerId>,
    criteria: Vec<OnboardingCriteria>,
    apis: Vec<ServiceApi>,
) -> Occurrence {
    let of = |api: &ServiceApi| Item {
        invoker: invoker.cloned(),
        ..of_place(api, Told::Criteria(criteria.clone()))
    };
    Occurrence {
        event: CapifEvent::ApiInvokerOnboardingCriteriaFailed,
        audience: Audience::Everyone,
        items: apis.iter().map(of).collect(),
    }
}

/// The event of how many API invokers asked to be enrolled for APIs.
#[must_use]
pub fn of_onboarded_counts(counts: Vec<(ServiceApi, u64)>) -> Occurrence {
    let items = counts.iter();
    Occurrence {
        event: CapifEvent::ServiceApiOnboardedByApiInvokersCount,
        audience: Audience::Everyone,
        items: items
            .map(|(api, count)| of_place(api, Told::Onboarded(*count)))
            .collect(),
    }
}

/// The event of how often APIs were asked for and shown in discovery. The ids within the counts are those of the APIs beside them.
#[must_use]
pub fn of_discovery_counts(counts: Vec<(ServiceApi, DiscoveryCount)>) -> Occurrence {
    let items = counts.into_iter();
    Occurrence {
        event: CapifEvent::ServiceApiDiscoveryByApiInvokersCount,
        audience: Audience::Everyone,
        items: items
            .map(|(api, count)| of_place(&api, Told::Discovered(Box::new(count))))
            .collect(),
    }
}

/// The events of the calls that a report tells of, success and failure apart, each of no more calls than fit. A call whose API is
/// not published any more is nobody's.
#[must_use]
pub fn of_invocations<'a>(
    report: &InvocationLog,
    api: impl Fn(&str) -> Option<&'a ServiceApi>,
) -> Vec<Occurrence> {
    let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
    for log in &report.logs {
        let Some(api) = api(log.api_id.as_str()) else {
            continue;
        };
        let item = Item {
            invoker: Some(report.api_invoker_id.clone()),
            aef: Some(report.aef_id.clone()),
            ..of_place(api, Told::Call(Box::new(log.clone())))
        };
        if is_success(&log.result) {
            succeeded.push(item);
        } else {
            failed.push(item);
        }
    }
    let of = |event: CapifEvent, items: Vec<Item>| {
        let chunks: Vec<Occurrence> = items
            .chunks(LOGS_MAX)
            .map(|items| Occurrence {
                event: event.clone(),
                audience: Audience::Everyone,
                items: items.to_vec(),
            })
            .collect();
        chunks
    };
    let mut all = of(CapifEvent::ServiceApiInvocationSuccess, succeeded);
    all.extend(of(CapifEvent::ServiceApiInvocationFailure, failed));
    all
}

/// Choice: a call succeeded if its result is a status of 2xx or 3xx; what is no status at all is a failure. TS 29.222 leaves open
/// where success ends.
fn is_success(result: &str) -> bool {
    matches!(result.trim().parse(), Ok(200..400_u16))
}

/// Puts together what a subscriber is told of the things that it hears of. `describes` says whether it follows the state of APIs
/// (feature ApiStatusMonitoring).
pub(super) fn detail<'a>(
    items: impl Iterator<Item = &'a Item>,
    describes: bool,
) -> CapifEventDetail {
    let mut detail = CapifEventDetail::default();
    for item in items {
        add(&mut detail, item, describes);
    }
    detail
}

fn add(detail: &mut CapifEventDetail, item: &Item, describes: bool) {
    let api = item.api.as_ref().map(|api| &api.id);
    match &item.told {
        Told::Nothing => {}
        Told::Ids(description) => {
            add_ids(detail, item);
            if let (Some(description), true) = (description, describes) {
                add_once(
                    &mut detail.service_api_descriptions,
                    shown(description, describes),
                );
            }
        }
        Told::Description(description) => {
            add_once(
                &mut detail.service_api_descriptions,
                shown(description, describes),
            );
        }
        Told::Policies(list) => detail.acc_ctrl_pol_list = Some(list.clone()),
        Told::Call(log) => add_call(detail, item, log),
        Told::Hiding(hiding) => detail.api_topo_hide = Some(hiding.as_ref().clone()),
        Told::Criteria(criteria) => {
            add_ids(detail, item);
            for one in criteria {
                add_once(&mut detail.onboarding_criteria, one.clone());
            }
        }
        Told::Onboarded(count) => {
            let counts = detail.onboarded_count.get_or_insert_default();
            counts.extend(api.map(|api_id| ApiInvokerCount {
                api_id: api_id.clone(),
                count: *count,
                extra: Default::default(),
            }));
        }
        Told::Discovered(count) => {
            let counts = detail.discovery_count.get_or_insert_default();
            counts.extend(api.map(|api_id| DiscoveryCount {
                api_id: api_id.clone(),
                ..count.as_ref().clone()
            }));
        }
    }
}

fn add_ids(detail: &mut CapifEventDetail, item: &Item) {
    if let Some(api) = &item.api {
        add_once(&mut detail.api_ids, api.id.clone());
    }
    if let Some(invoker) = &item.invoker {
        add_once(&mut detail.api_invoker_ids, invoker.clone());
    }
}

/// The state of an API is part of its description for who follows it.
fn shown(description: &ServiceApiDescription, describes: bool) -> ServiceApiDescription {
    let mut shown = description.clone();
    if !describes {
        shown.api_status = None;
    }
    shown
}

/// Calls of one invoker at one AEF stand in one report.
fn add_call(detail: &mut CapifEventDetail, item: &Item, log: &Log) {
    let (Some(invoker), Some(aef)) = (&item.invoker, &item.aef) else {
        return;
    };
    let reports = detail.invocation_logs.get_or_insert_default();
    let same =
        |report: &&mut InvocationLog| report.api_invoker_id == *invoker && report.aef_id == *aef;
    match reports.iter_mut().find(same) {
        Some(report) => report.logs.push(log.clone()),
        None => reports.push(InvocationLog {
            aef_id: aef.clone(),
            api_invoker_id: invoker.clone(),
            logs: vec![log.clone()],
            supported_features: None,
            extra: Default::default(),
        }),
    }
}

fn add_once<T: PartialEq>(list: &mut Option<Vec<T>>, one: T) {
    let list = list.get_or_insert_default();
    if !list.contains(&one) {
        list.push(one);
    }
}
