//! What a waiting message is for whoever delivers it: where it goes, what is sent, and how long it is worth trying.

use capif_procedures::{
    changes::{Key, Kind},
    state::{Callback, Notification, Revocation},
};
use capif_spec::common::DateTime;
use serde::Serialize;
use time::Duration;

use crate::{
    core::Core,
    store::{self, Fault},
    view::Records,
};

/// How long an invoker is tried that does not answer: by then its tokens have long ended, and it has asked anyway.
pub(super) const CALLBACK_KEPT: Duration = Duration::hours(24);

/// A message ready to be sent.
pub(crate) struct Parcel {
    /// Who is to acknowledge it.
    pub(crate) receiver: String,
    /// In whose name places are counted: the receiver's provider domain, or the receiver.
    pub(crate) owner: String,
    /// Where it goes.
    pub(crate) destination: String,
    /// What is sent.
    pub(crate) body: Vec<u8>,
    /// What it is, in a word.
    pub(crate) what: String,
    /// When it was decided.
    pub(crate) raised: DateTime,
    /// How long it is offered.
    pub(crate) kept: Duration,
    /// Whether its delay is for a person to look at. That of an invoker is its own affair.
    pub(crate) alarms: bool,
}

/// What became of a message that waited.
pub(crate) enum Found {
    /// It is to be sent.
    Parcel(Box<Parcel>),
    /// It is not, and may go.
    Nothing,
}

/// Loads a message.
pub(crate) async fn load(core: &Core, key: &Key) -> Result<Found, Fault> {
    let store = core.store.as_ref();
    let parcel = match key.kind {
        Kind::Notification => store::load::<Notification>(store, &key.id)
            .await?
            .and_then(|held| notification(core, held.record)),
        Kind::Revocation => store::load::<Revocation>(store, &key.id)
            .await?
            .and_then(|held| revocation(core, held.record)),
        Kind::Callback => store::load::<Callback>(store, &key.id)
            .await?
            .and_then(|held| callback(core, held.record)),
        _ => None,
    };
    Ok(parcel.map_or(Found::Nothing, |parcel| Found::Parcel(Box::new(parcel))))
}

fn notification(core: &Core, held: Notification) -> Option<Parcel> {
    let records = core.view.read();
    let subscription =
        records.subscription(&held.subscriber, held.notification.subscription_id.as_str())?;
    let destination = &subscription.record.subscription.notification_destination;
    Some(Parcel {
        owner: owner(&records, &held.subscriber),
        receiver: held.subscriber,
        destination: destination.to_string(),
        body: json(&held.notification),
        what: held.notification.events.to_string(),
        raised: held.raised,
        kept: kept(core),
        alarms: true,
    })
}

fn revocation(core: &Core, held: Revocation) -> Option<Parcel> {
    let receiver = held.aef_id.to_string();
    Some(Parcel {
        owner: owner(&core.view.read(), &receiver),
        receiver,
        destination: format!(
            "https://{}/aef-security/v1/revoke-authorization",
            held.authority
        ),
        body: json(&held.request),
        what: "revoke-authorization".to_owned(),
        raised: held.raised,
        kept: kept(core),
        alarms: true,
    })
}

fn callback(core: &Core, held: Callback) -> Option<Parcel> {
    // The operator may have thought better of it since.
    let allowed = core.config.callbacks.allows(held.destination.as_str());
    let receiver = held.invoker_id.to_string();
    allowed.then(|| Parcel {
        owner: receiver.clone(),
        receiver,
        destination: held.destination.to_string(),
        body: json(&held.notification),
        what: held.notification.as_str().to_owned(),
        raised: held.raised,
        kept: CALLBACK_KEPT,
        alarms: false,
    })
}

fn kept(core: &Core) -> Duration {
    Duration::hours(i64::from(core.config.events.retention_hours))
}

fn owner(records: &Records, receiver: &str) -> String {
    records.function(receiver).map_or_else(
        || receiver.to_owned(),
        |held| held.record.domain_id.to_string(),
    )
}

/// Holds because what was read from JSON can be written as JSON.
fn json(content: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(content).unwrap_or_default()
}
