//! Who hears of what happened, and what each is told.

use capif_spec::{
    common::{AefId, ApiInvokerId, DateTime},
    events::{CapifEvent, CapifEventFilter, EventNotification},
};

use super::{
    API_STATUS_MONITORING, ENHANCED_EVENT_REPORT,
    occurrence::{Audience, Item, Occurrence, detail, for_aef},
    reporting, rights,
};
use crate::{
    changes::Changes,
    state::{Notification, Role, Subscription},
};

/// Appends a notification for every subscription that asks for this.
pub fn raise<'a>(
    changes: &mut Changes,
    occurrence: Occurrence,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) {
    for subscription in subscriptions {
        if let Some(notification) = notification(subscription, &occurrence, now) {
            changes.append(
                Notification::prefix(&subscription.subscriber, &subscription.id),
                &notification,
            );
        }
    }
}

/// What a subscription is told of an event; `None` if it does not ask for it.
pub(super) fn notification(
    subscription: &Subscription,
    occurrence: &Occurrence,
    now: &DateTime,
) -> Option<Notification> {
    let mut items = heard(subscription, occurrence).peekable();
    items.peek()?;
    if reporting::has_ended(subscription, now) {
        return None;
    }
    let enhanced = has(subscription, ENHANCED_EVENT_REPORT);
    let event_detail = enhanced.then(|| detail(items, has(subscription, API_STATUS_MONITORING)));
    Some(Notification {
        subscriber: subscription.subscriber.clone(),
        notification: EventNotification {
            subscription_id: subscription.id.clone(),
            events: occurrence.event.clone(),
            event_detail,
            extra: Default::default(),
        },
        raised: now.clone(),
        at_once: false,
    })
}

/// Whether an AEF's subscription tells it of an event about an invoker that it knows, and at once: one that reports periodically or a
/// limited number of times may keep the AEF waiting, or silent. At an address that is not of https whoever is on the way can keep
/// it: that does not count.
pub(crate) fn is_told_of_invoker(
    subscription: &Subscription,
    event: CapifEvent,
    id: &ApiInvokerId,
) -> bool {
    let occurrence = for_aef(event, id, &AefId::from(subscription.subscriber.as_str()));
    let wanted = &subscription.subscription;
    let config = wanted.websock_notif_config.as_ref();
    let is_way = config.is_some_and(|config| config.websocket_uri.is_some())
        || wanted
            .notification_destination
            .as_str()
            .starts_with("https://");
    is_way
        && reporting::is_prompt(subscription)
        && heard(subscription, &occurrence).next().is_some()
}

/// Whether a subscription has a feature.
pub(super) fn has(subscription: &Subscription, feature: u32) -> bool {
    let features = subscription.subscription.supported_features.as_ref();
    features.is_some_and(|features| features.has(feature))
}

/// The things of an occurrence that a subscription hears of.
pub(super) fn heard<'a>(
    subscription: &'a Subscription,
    occurrence: &'a Occurrence,
) -> impl Iterator<Item = &'a Item> {
    let wanted = &subscription.subscription;
    let filters = if has(subscription, ENHANCED_EVENT_REPORT) {
        wanted.event_filters.as_deref().unwrap_or_default()
    } else {
        &[]
    };
    // Filters stand beside the events they belong to (TS 29.222 clause 8.3.4.2.2).
    let lets_through = move |item: &Item| {
        wanted.events.iter().enumerate().any(|(index, event)| {
            *event == occurrence.event
                && filters.get(index).is_none_or(|filter| passes(filter, item))
        })
    };
    let is_meant = wanted.events.contains(&occurrence.event)
        && rights::may_see(subscription.role, &occurrence.event)
        && is_addressed(subscription, &occurrence.audience);
    let items = if is_meant {
        occurrence.items.as_slice()
    } else {
        &[]
    };
    items.iter().filter(move |item| {
        concerns(subscription, &occurrence.audience, item) && lets_through(item)
    })
}

fn is_addressed(subscription: &Subscription, audience: &Audience) -> bool {
    match audience {
        Audience::Everyone => true,
        Audience::Aef(aef) => aef.as_str() == subscription.subscriber,
        // An invoker hears of itself, which `concerns` holds it to.
        Audience::Circle(circle) => {
            subscription.role == Role::ApiInvoker || circle.includes(subscription)
        }
    }
}

/// Of invokers, an invoker hears of itself alone; of APIs, everyone hears of those within reach, and an AEF of those that are put to it
/// by name.
fn concerns(subscription: &Subscription, audience: &Audience, item: &Item) -> bool {
    let of_another = |id: &ApiInvokerId| id.as_str() != subscription.subscriber;
    let is_others =
        subscription.role == Role::ApiInvoker && item.invoker.as_ref().is_some_and(of_another);
    let is_named = matches!(audience, Audience::Aef(_));
    let reach = &subscription.reach;
    let is_within = is_named || item.api.as_ref().is_none_or(|api| api.is_within(reach));
    !is_others && is_within
}

/// What a filter asks of things that an event is not about is no filter.
fn passes(filter: &CapifEventFilter, item: &Item) -> bool {
    fn lets<T: PartialEq>(wanted: Option<&Vec<T>>, actual: Option<&T>) -> bool {
        match (wanted, actual) {
            (Some(wanted), Some(actual)) => wanted.contains(actual),
            _ => true,
        }
    }
    lets(filter.api_invoker_ids.as_ref(), item.invoker.as_ref())
        && lets(
            filter.api_ids.as_ref(),
            item.api.as_ref().map(|api| &api.id),
        )
        && lets(filter.aef_ids.as_ref(), item.aef.as_ref())
}
