//! Event subscription and notification (TS 23.222 clause 8.8, TS 29.222 clause 5.4).
//!
//! An event is raised in the commit that causes it: for each matching subscription one [`Notification`] is appended,
//! and only the receiver's acknowledgement removes it. Order per subscription is commit order.

use capif_spec::{
    access_control_policy::ApiInvokerPolicy,
    common::{AefId, ApiInvokerId, DateTime, SubscriptionId, SupportedFeatures},
    events::{
        AccessControlPolicyListExt, CapifEvent, CapifEventDetail, CapifEventFilter,
        EventNotification, EventSubscription,
    },
};

use crate::{
    changes::{Changes, Expect, Versioned},
    refusal::Refusal,
    state::{ApiReach, Invoker, Notification, ProviderFunction, Role, ServiceApi, Subscription},
};

/// Features of the events API that are served (TS 29.222 table 8.3.6-1): bit 3, Enhanced_event_report, for its filters
/// and details.
pub const FEATURES: &str = "4";

/// The event of this product's own that roots, keys that are not believed, or keys of access tokens changed. What they are now,
/// the subscriber asks for.
pub const TRUST_UPDATED: &str = "VENDOR_CAPIF_TRUST_UPDATED";

/// The number of the feature that brings filters and details.
const ENHANCED_EVENT_REPORT: u32 = 3;

/// How many subscriptions one subscriber may hold.
pub const SUBSCRIPTIONS_MAX: usize = 64;

/// An event that happened, with what its filters look at.
#[derive(Clone, Debug)]
pub struct Occurrence {
    event: CapifEvent,
    invoker: Option<ApiInvokerId>,
    api: Option<ServiceApi>,
    /// The one AEF that it concerns; whoever subscribed if absent.
    aef: Option<AefId>,
    /// The APIs that it names, of which each subscriber is told those within its reach; a subscriber with none of them is not told.
    named: Option<Vec<ServiceApi>>,
    detail: CapifEventDetail,
}

/// An event about an API invoker.
#[must_use]
pub fn of_invoker(event: CapifEvent, id: &ApiInvokerId) -> Occurrence {
    Occurrence {
        event,
        invoker: Some(id.clone()),
        api: None,
        aef: None,
        named: None,
        detail: CapifEventDetail {
            api_invoker_ids: Some(vec![id.clone()]),
            ..CapifEventDetail::default()
        },
    }
}

/// The event that an invoker negotiated away what it had at an AEF, for this AEF alone.
#[must_use]
pub fn of_negotiation(id: &ApiInvokerId, aef: &AefId) -> Occurrence {
    Occurrence {
        aef: Some(aef.clone()),
        ..of_invoker(CapifEvent::ApiInvokerUpdated, id)
    }
}

/// The event that an invoker lost authorization: for these APIs, or for all that an AEF or everyone granted it.
#[must_use]
pub fn of_revocation(id: &ApiInvokerId, apis: Option<Vec<ServiceApi>>) -> Occurrence {
    Occurrence {
        named: apis,
        ..of_invoker(CapifEvent::ApiInvokerAuthorizationRevoked, id)
    }
}

/// The event that it changed by whom certificates and access tokens are believed.
#[must_use]
pub fn of_trust() -> Occurrence {
    Occurrence {
        event: CapifEvent::from(TRUST_UPDATED),
        invoker: None,
        api: None,
        aef: None,
        named: None,
        detail: CapifEventDetail::default(),
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
    Occurrence {
        event,
        invoker: changed.cloned(),
        api: Some(api.clone()),
        aef: Some(aef.clone()),
        named: None,
        detail: CapifEventDetail {
            acc_ctrl_pol_list: Some(AccessControlPolicyListExt {
                api_id: api.id.clone(),
                api_invoker_policies: list,
                extra: Default::default(),
            }),
            ..CapifEventDetail::default()
        },
    }
}

/// An event about a service API: its id, and for an update its description too.
#[must_use]
pub fn of_api(event: CapifEvent, api: &ServiceApi) -> Occurrence {
    let mut detail = CapifEventDetail::default();
    if event == CapifEvent::ServiceApiUpdate {
        detail.service_api_descriptions = Some(vec![crate::discovery::view(api)]);
    } else {
        detail.api_ids = Some(vec![api.id.clone()]);
    }
    Occurrence {
        event,
        invoker: None,
        api: Some(api.clone()),
        aef: None,
        named: None,
        detail,
    }
}

/// Appends a notification for every subscription that asks for this.
pub fn raise<'a>(
    changes: &mut Changes,
    occurrence: Occurrence,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) {
    for subscription in subscriptions.filter(|subscription| asks_for(subscription, &occurrence)) {
        let notification = Notification {
            subscriber: subscription.subscriber.clone(),
            notification: EventNotification {
                subscription_id: subscription.id.clone(),
                events: occurrence.event.clone(),
                event_detail: enhanced(subscription).then(|| detail_for(subscription, &occurrence)),
                extra: Default::default(),
            },
            raised: now.clone(),
        };
        changes.append(
            Notification::prefix(&subscription.subscriber, &subscription.id),
            &notification,
        );
    }
}

/// What a subscriber is told of an event beyond that it happened.
fn detail_for(subscription: &Subscription, occurrence: &Occurrence) -> CapifEventDetail {
    let mut detail = occurrence.detail.clone();
    if let Some(named) = &occurrence.named {
        let within = named.iter().filter(|api| subscription.reach.includes(api));
        detail.api_ids = Some(within.map(|api| api.id.clone()).collect());
    }
    detail
}

/// Whether a subscription asks for an event about an invoker.
pub(crate) fn is_told_of_invoker(
    subscription: &Subscription,
    event: CapifEvent,
    id: &ApiInvokerId,
) -> bool {
    asks_for(subscription, &of_invoker(event, id))
}

fn enhanced(subscription: &Subscription) -> bool {
    subscription
        .subscription
        .supported_features
        .as_ref()
        .is_some_and(|features| features.has(ENHANCED_EVENT_REPORT))
}

fn asks_for(subscription: &Subscription, occurrence: &Occurrence) -> bool {
    let of_another = occurrence
        .invoker
        .as_ref()
        .is_some_and(|id| id.as_str() != subscription.subscriber);
    if subscription.role == Role::ApiInvoker && of_another {
        return false;
    }
    let for_another = |aef: &AefId| aef.as_str() != subscription.subscriber;
    if occurrence.aef.as_ref().is_some_and(for_another) {
        return false;
    }
    let out_of_reach = |api: &ServiceApi| !subscription.reach.includes(api);
    if occurrence.api.as_ref().is_some_and(out_of_reach) {
        return false;
    }
    let named = occurrence.named.as_ref();
    if named.is_some_and(|named| named.iter().all(out_of_reach)) {
        return false;
    }
    let wanted = &subscription.subscription;
    let filters = if enhanced(subscription) {
        wanted.event_filters.as_deref().unwrap_or_default()
    } else {
        &[]
    };
    // Filters stand beside the events they belong to (TS 29.222 clause 8.3.4.2.2).
    wanted.events.iter().enumerate().any(|(index, event)| {
        *event == occurrence.event
            && filters
                .get(index)
                .is_none_or(|filter| passes(filter, occurrence))
    })
}

fn passes(filter: &CapifEventFilter, occurrence: &Occurrence) -> bool {
    fn lets<T: PartialEq>(wanted: Option<&Vec<T>>, actual: Option<&T>) -> bool {
        match (wanted, actual) {
            (Some(wanted), Some(actual)) => wanted.contains(actual),
            _ => true,
        }
    }
    lets(filter.api_invoker_ids.as_ref(), occurrence.invoker.as_ref())
        && lets(
            filter.api_ids.as_ref(),
            occurrence.api.as_ref().map(|api| &api.id),
        )
        && lets(filter.aef_ids.as_ref(), occurrence.aef.as_ref())
}

/// Who subscribes.
#[derive(Clone, Copy, Debug)]
pub enum Subscriber<'a> {
    /// An API invoker.
    Invoker(&'a Invoker),
    /// A function of a provider domain.
    Function(&'a ProviderFunction),
}

impl Subscriber<'_> {
    fn id(&self) -> &str {
        match self {
            Self::Invoker(invoker) => invoker.id.as_str(),
            Self::Function(function) => function.id.as_str(),
        }
    }

    fn role(&self) -> Role {
        match self {
            Self::Invoker(_) => Role::ApiInvoker,
            Self::Function(function) => function.role,
        }
    }

    fn reach(&self) -> ApiReach {
        match self {
            Self::Invoker(invoker) => invoker.reach.clone(),
            // What another provider publishes is none of its business (TS 23.222 AR-4.3.3-c).
            Self::Function(function) => ApiReach {
                domain: Some(function.domain_id.clone()),
                api_names: None,
            },
        }
    }
}

/// Accepts a subscription. `held` is how many the subscriber has already.
///
/// # Errors
/// Refuses events that the subscriber may not see, destinations that cannot be, and one subscription too many.
pub fn subscribe(
    subscriber: Subscriber<'_>,
    wanted: EventSubscription,
    id: SubscriptionId,
    held: usize,
) -> Result<(Changes, Subscription), Refusal> {
    if held >= SUBSCRIPTIONS_MAX {
        return Err(Refusal::TooMany {
            what: "event subscriptions",
            limit: SUBSCRIPTIONS_MAX,
        });
    }
    let subscription = accept(subscriber, wanted, id)?;
    let mut changes = Changes::new();
    // A subscriber that goes in the same moment takes its subscriptions along.
    match subscriber {
        Subscriber::Invoker(invoker) => {
            changes.require::<Invoker>(invoker.id.as_str(), Expect::Present);
        }
        Subscriber::Function(function) => {
            changes.require::<ProviderFunction>(function.id.as_str(), Expect::Present);
        }
    }
    changes.put(&subscription, Expect::Absent);
    Ok((changes, subscription))
}

/// Replaces a subscription; what waits for delivery stays.
///
/// # Errors
/// As [`subscribe`].
pub fn replace(
    subscriber: Subscriber<'_>,
    held: &Versioned<Subscription>,
    wanted: EventSubscription,
) -> Result<(Changes, Subscription), Refusal> {
    let subscription = accept(subscriber, wanted, held.record.id.clone())?;
    let mut changes = Changes::new();
    changes.put(&subscription, Expect::At(held.revision));
    Ok((changes, subscription))
}

/// Ends a subscription and what waits for delivery under it.
#[must_use]
pub fn unsubscribe(held: &Versioned<Subscription>) -> Changes {
    let mut changes = Changes::new();
    changes.delete::<Subscription>(
        crate::changes::Record::record_id(&held.record),
        Expect::At(held.revision),
    );
    changes.delete_prefix::<Notification>(Notification::prefix(
        &held.record.subscriber,
        &held.record.id,
    ));
    changes
}

fn accept(
    subscriber: Subscriber<'_>,
    mut wanted: EventSubscription,
    id: SubscriptionId,
) -> Result<Subscription, Refusal> {
    if let Some(event) = wanted
        .events
        .iter()
        .find(|event| !may_see(subscriber, event))
    {
        return Err(Refusal::EventNotAllowed {
            event: event.to_string(),
        });
    }
    if !wanted
        .notification_destination
        .as_str()
        .starts_with("https://")
    {
        return Err(Refusal::incorrect(
            "/notificationDestination",
            "notifications are delivered over https only",
        ));
    }
    let offered = SupportedFeatures::from(FEATURES);
    wanted.supported_features = wanted
        .supported_features
        .map(|features| features.intersect(&offered));
    // Members of features that were not agreed on are neither kept nor answered (TS 29.222 clause 7.8).
    wanted.request_test_notification = None;
    wanted.websock_notif_config = None;
    let enhanced = wanted
        .supported_features
        .as_ref()
        .is_some_and(|features| features.has(ENHANCED_EVENT_REPORT));
    if !enhanced {
        wanted.event_filters = None;
        wanted.event_req = None;
    }
    let subscription = Subscription {
        id,
        subscriber: subscriber.id().to_owned(),
        role: subscriber.role(),
        reach: subscriber.reach(),
        subscription: wanted,
    };
    Ok(subscription)
}

/// The right to an event. Functions of a provider see all of those raised here; an invoker sees what concerns APIs within its
/// reach, and of invokers itself alone, which `asks_for` holds it to.
fn may_see(subscriber: Subscriber<'_>, event: &CapifEvent) -> bool {
    match (subscriber, event) {
        // Only who takes the calls has something to do about it.
        (Subscriber::Function(function), CapifEvent::Other(event)) => {
            function.role == Role::Aef && event == TRUST_UPDATED
        }
        (_, CapifEvent::Other(_)) => false,
        (Subscriber::Function(_), _) => true,
        (Subscriber::Invoker(_), event) => matches!(
            event,
            CapifEvent::ServiceApiAvailable
                | CapifEvent::ServiceApiUnavailable
                | CapifEvent::ServiceApiUpdate
                | CapifEvent::ApiInvokerUpdated
                | CapifEvent::ApiInvokerAuthorizationRevoked
        ),
    }
}

#[cfg(test)]
mod tests;
