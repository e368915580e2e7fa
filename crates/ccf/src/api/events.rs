//! CAPIF_Events_API (TS 29.222 clause 8.3).

use std::sync::Arc;

use capif_procedures::{
    changes::Versioned,
    events::{self, Subscriber},
    refusal::Refusal,
    state::Subscription,
};
use capif_spec::{common::SubscriptionId, events::EventSubscription};
use http::StatusCode;

use super::{Answer, Call, created, identity::Caller, json_answer, no_content};
use crate::{random, view::Records};

/// `POST {subscriberId}/subscriptions`.
pub(crate) fn create(call: Call) -> Answer {
    Box::pin(async move {
        let wanted: EventSubscription = call.checked()?;
        let id = SubscriptionId::new(random::id("SUB")?);
        let made = call
            .core
            .transact(&call.act(id.as_str()), |records| {
                let held = records.subscriptions_of(call.parameter(0));
                room(&call.caller, records)?;
                events::subscribe(subscriber(&call.caller)?, wanted.clone(), id.clone(), held)
            })
            .await?;
        let path = format!("/capif-events/v1/{}/subscriptions/{id}", call.parameter(0));
        created(&call.core, &path, &made.subscription)
    })
}

/// `PUT {subscriberId}/subscriptions/{subscriptionId}`.
pub(crate) fn replace(call: Call) -> Answer {
    Box::pin(async move {
        let wanted: EventSubscription = call.checked()?;
        let made = call
            .core
            .transact(&call.act(call.parameter(1)), |records| {
                let held = own(&call, records)?;
                events::replace(subscriber(&call.caller)?, held, wanted.clone())
            })
            .await?;
        json_answer(StatusCode::OK, &made.subscription)
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
