//! Subscriptions: made, replaced, changed and ended (TS 29.222 clauses 5.4.2.2 to 5.4.2.5).

use capif_spec::{
    common::{Checked, DateTime, SubscriptionId, Uri},
    events::EventSubscription,
    json,
};
use serde_json::Value;

use super::{ENHANCED_EVENT_REPORT, FEATURES, SUBSCRIPTIONS_MAX, reporting, rights};
use crate::{
    changes::{Changes, Expect, Record, Versioned},
    delivery::{Delivery, agreed_features},
    refusal::Refusal,
    state::{ApiReach, Invoker, ProviderFunction, Reporting, Role, Subscription},
};

/// How many events one subscription may name; an event may stand there several times, with a filter each time.
const EVENTS_MAX: usize = 64;

/// The largest subscription, in bytes of JSON: its filters are looked at with each event, and it is kept in memory.
const SUBSCRIPTION_BYTES_MAX: usize = 64 * 1024;

/// The members that a PATCH does not carry (TS 29.222 clause 8.3.4.2.11).
const FIXED: [&str; 4] = [
    "requestTestNotification",
    "websockNotifConfig",
    "supportedFeatures",
    "subscriptionId",
];

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
    now: &DateTime,
) -> Result<(Changes, Subscription), Refusal> {
    if held >= SUBSCRIPTIONS_MAX {
        return Err(Refusal::TooMany {
            what: "event subscriptions",
            limit: SUBSCRIPTIONS_MAX,
        });
    }
    let subscription = accept(subscriber, wanted, id, None, now)?;
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
    if let Some(progress) = reporting::begin(&subscription, now) {
        changes.put(&progress, Expect::Absent);
    }
    Ok((changes, subscription))
}

/// Replaces a subscription; what waits for delivery stays. Reports begin anew if anything else is asked of them.
///
/// # Errors
/// As [`subscribe`].
pub fn replace(
    subscriber: Subscriber<'_>,
    held: &Versioned<Subscription>,
    wanted: EventSubscription,
    now: &DateTime,
) -> Result<(Changes, Subscription), Refusal> {
    let websocket = held.record.subscription.websock_notif_config.as_ref();
    let websocket = websocket.and_then(|config| config.websocket_uri.as_ref());
    let subscription = accept(subscriber, wanted, held.record.id.clone(), websocket, now)?;
    let mut changes = Changes::new();
    changes.put(&subscription, Expect::At(held.revision));
    if subscription.subscription.event_req != held.record.subscription.event_req {
        match reporting::begin(&subscription, now) {
            Some(progress) => changes.put(&progress, Expect::Any),
            None => changes.delete::<Reporting>(subscription.record_id(), Expect::Any),
        }
    }
    Ok((changes, subscription))
}

/// What a merge patch (RFC 7396, TS 29.222 clause 5.4.2.4) makes of a subscription.
///
/// # Errors
/// Refuses members that cannot be patched, and results that are no subscription.
pub fn patched(
    held: &Subscription,
    patch: &serde_json::Map<String, Value>,
) -> Result<EventSubscription, Refusal> {
    if let Some(member) = patch.keys().find(|member| FIXED.contains(&member.as_str())) {
        return Err(Refusal::ModificationNotAllowed {
            member: member.clone(),
        });
    }
    let mut document = serde_json::to_value(&held.subscription)
        .map_err(|_| Refusal::incorrect("", "the subscription cannot be patched"))?;
    json_patch::merge(&mut document, &Value::Object(patch.clone()));
    let mut wanted: EventSubscription = json::from_value(document)
        .map_err(|error| Refusal::incorrect(error.pointer, error.reason))?;
    // What was asked for once is not asked for again.
    wanted.request_test_notification = None;
    if let Some(config) = &mut wanted.websock_notif_config {
        config.request_websocket_uri = None;
    }
    wanted
        .check()
        .map_err(|violation| Refusal::incorrect(violation.pointer, violation.reason))?;
    Ok(wanted)
}

/// Ends a subscription with its progress and what waits for delivery under it.
#[must_use]
pub fn unsubscribe(held: &Versioned<Subscription>) -> Changes {
    reporting::end(held)
}

fn accept(
    subscriber: Subscriber<'_>,
    mut wanted: EventSubscription,
    id: SubscriptionId,
    websocket: Option<&Uri>,
    now: &DateTime,
) -> Result<Subscription, Refusal> {
    if wanted.events.len() > EVENTS_MAX {
        return Err(Refusal::incorrect(
            "/events",
            format!("`events` holds at most {EVENTS_MAX} items"),
        ));
    }
    if let Some(event) = wanted
        .events
        .iter()
        .find(|event| !rights::may_see(subscriber.role(), event))
    {
        return Err(Refusal::EventNotAllowed {
            event: event.to_string(),
            expected: rights::seers(event),
        });
    }
    wanted.supported_features = wanted
        .supported_features
        .map(|features| agreed_features(&features, FEATURES));
    // Members of features that were not agreed on are neither kept nor answered (TS 29.222 clause 7.8).
    let delivery = Delivery {
        test: wanted.request_test_notification,
        websocket: wanted.websock_notif_config,
    };
    let delivery = delivery.agree(wanted.supported_features.as_ref(), websocket)?;
    wanted.request_test_notification = delivery.test;
    wanted.websock_notif_config = delivery.websocket;
    let enhanced = wanted
        .supported_features
        .as_ref()
        .is_some_and(|features| features.has(ENHANCED_EVENT_REPORT));
    if enhanced {
        let filters = wanted.event_filters.as_deref().unwrap_or_default();
        if filters.len() > wanted.events.len() {
            return Err(Refusal::incorrect(
                "/eventFilters",
                "`eventFilters` holds one filter for each of `events`, in their order",
            ));
        }
        let wish = wanted.event_req.take();
        wanted.event_req = wish.map(|wish| reporting::accept(wish, now)).transpose()?;
    } else {
        wanted.event_filters = None;
        wanted.event_req = None;
    }
    let bytes = serde_json::to_vec(&wanted).map_or(usize::MAX, |text| text.len());
    if bytes > SUBSCRIPTION_BYTES_MAX {
        return Err(Refusal::incorrect(
            "",
            format!("a subscription has at most {SUBSCRIPTION_BYTES_MAX} bytes"),
        ));
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
