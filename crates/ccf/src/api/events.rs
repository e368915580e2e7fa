//! CAPIF_Events_API (TS 29.222 clause 8.3).

use std::sync::Arc;

use capif_procedures::{
    changes::{Changes, Versioned},
    delivery,
    events::{self, Subscriber},
    refusal::Refusal,
    state::Subscription,
};
use capif_spec::{
    common::{SubscriptionId, Uri},
    events::EventSubscription,
};
use http::StatusCode;

use super::{
    Answer, Call, created, identity::Caller, json_answer, no_content, preference, problem::ApiError,
};
use crate::{destination::Content, random, view::Records};

/// `POST {subscriberId}/subscriptions`.
pub(crate) fn create(call: Call) -> Answer {
    Box::pin(async move {
        let mut wanted: EventSubscription = call.checked()?;
        let id = SubscriptionId::new(random::id("SUB")?);
        assign(&call, &mut wanted, id.as_str());
        let made = call
            .core
            .transact(&call.act(id.as_str()), |records| {
                let held = records.subscriptions_of(call.parameter(0));
                room(&call.caller, records)?;
                let subscriber = subscriber(&call.caller)?;
                let (mut changes, made) =
                    events::subscribe(subscriber, wanted.clone(), id.clone(), held, &call.now)?;
                events::tell_present(&mut changes, &made, records.present(), &call.now);
                reach(&call, records, &mut changes, &made)?;
                Ok((changes, made))
            })
            .await?;
        let path = path_of(call.parameter(0), id.as_str());
        created(&call.core, &path, &made.subscription)
    })
}

/// `PUT {subscriberId}/subscriptions/{subscriptionId}`.
pub(crate) fn replace(call: Call) -> Answer {
    Box::pin(async move {
        let wanted: EventSubscription = call.checked()?;
        update(&call, |_| Ok(wanted.clone())).await
    })
}

/// `PATCH {subscriberId}/subscriptions/{subscriptionId}`.
pub(crate) fn modify(call: Call) -> Answer {
    Box::pin(async move {
        let patch: serde_json::Map<String, serde_json::Value> = call.json()?;
        update(&call, |held| events::patched(held, &patch)).await
    })
}

/// `DELETE {subscriberId}/subscriptions/{subscriptionId}`.
pub(crate) fn delete(call: Call) -> Answer {
    Box::pin(async move {
        call.core
            .transact(&call.act(call.parameter(1)), |records| {
                Ok((events::unsubscribe(own(&call, records)?), ()))
            })
            .await?;
        Ok(no_content())
    })
}

async fn update(
    call: &Call,
    wanted: impl Fn(&Subscription) -> Result<EventSubscription, Refusal>,
) -> Result<http::Response<capif_transport::Body>, ApiError> {
    let (made, tells) = call
        .core
        .transact(&call.act(call.parameter(1)), |records| {
            let held = own(call, records)?;
            let mut wanted = wanted(&held.record)?;
            assign(call, &mut wanted, call.parameter(1));
            let (mut changes, made) =
                events::replace(subscriber(&call.caller)?, held, wanted, &call.now)?;
            if made.subscription.event_req != held.record.subscription.event_req {
                events::tell_present(&mut changes, &made, records.present(), &call.now);
            }
            reach(call, records, &mut changes, &made)?;
            let websocket = websocket(&made);
            let tells = websocket.is_some() && websocket != self::websocket(&held.record);
            Ok((changes, (made, tells)))
        })
        .await?;
    let answer = json_answer(StatusCode::OK, &made.subscription)?;
    Ok(preference::whole_if(tells, answer))
}

/// The WebSocket of a subscription, if it has one.
fn websocket(subscription: &Subscription) -> Option<&Uri> {
    let config = subscription.subscription.websock_notif_config.as_ref()?;
    config.websocket_uri.as_ref()
}

fn path_of(subscriber: &str, id: &str) -> String {
    format!("/capif-events/v1/{subscriber}/subscriptions/{id}")
}

/// Names the WebSocket that a subscription gets if it asks for one.
fn assign(call: &Call, wanted: &mut EventSubscription, id: &str) {
    let address = call.core.config.address();
    let uri = delivery::websocket_uri(&address, call.parameter(0), id);
    delivery::assign(&mut wanted.websock_notif_config, uri);
}

/// Judges the way to a subscriber, and tests it if that was asked for.
fn reach(
    call: &Call,
    records: &Records,
    changes: &mut Changes,
    made: &Subscription,
) -> Result<(), Refusal> {
    let wanted = &made.subscription;
    let config = wanted.websock_notif_config.as_ref();
    if config.is_none_or(|config| config.websocket_uri.is_none()) {
        let destination = &wanted.notification_destination;
        let core = &call.core;
        let judged =
            core.judge_destination(records, &made.subscriber, destination, Content::Notice);
        // Deployed clients subscribe with whatever web address; where nobody may be told, nobody is.
        let is_web = ["https://", "http://"]
            .iter()
            .any(|scheme| destination.as_str().starts_with(scheme));
        match judged {
            Err(_) if is_web && core.config.is_lenient() => {
                core.say_untold(destination.as_str(), Content::Notice);
            }
            judged => judged?,
        }
    }
    if wanted.request_test_notification == Some(true) {
        let path = path_of(&made.subscriber, made.id.as_str());
        let link = format!("{}{path}", call.core.api_root);
        delivery::test_subscription(changes, made, &link, &call.now);
    }
    Ok(())
}

/// How many subscriptions the functions of one provider domain may hold together: each event is written once for each.
const DOMAIN_MAX: usize = 128;

fn room(caller: &Caller, records: &Records) -> Result<(), Refusal> {
    let Caller::Function(function) = caller else {
        return Ok(());
    };
    let functions = records
        .domain(function.record.domain_id.as_str())
        .map(|domain| domain.record.functions.as_slice())
        .unwrap_or_default();
    let held: usize = functions
        .iter()
        .map(|id| records.subscriptions_of(id.as_str()))
        .sum();
    if held < DOMAIN_MAX {
        return Ok(());
    }
    Err(Refusal::TooMany {
        what: "event subscriptions of one provider domain",
        limit: DOMAIN_MAX,
    })
}

fn own<'a>(call: &Call, records: &'a Records) -> Result<&'a Arc<Versioned<Subscription>>, Refusal> {
    records
        .subscription(call.parameter(0), call.parameter(1))
        .ok_or(Refusal::NotFound {
            what: "subscription",
        })
}

fn subscriber(caller: &Caller) -> Result<Subscriber<'_>, Refusal> {
    match caller {
        Caller::Invoker(invoker) => Ok(Subscriber::Invoker(&invoker.record)),
        Caller::Function(function) => Ok(Subscriber::Function(&function.record)),
        Caller::Anonymous => Err(Refusal::CertificateRequired),
    }
}
