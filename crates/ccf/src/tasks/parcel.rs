//! What a waiting message is for whoever delivers it: where it goes, what is sent, and how long it is worth trying.
//!
//! What is sent was encoded when it was written down; it is not decoded and encoded again for each receiver.

use std::borrow::Cow;

use bytes::Bytes;
use capif_procedures::{
    changes::{Key, Kind, Record, Revision},
    state::{Callback, Notification, Revocation, Role, Tidings},
};
use capif_spec::common::{AefId, DateTime};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::Duration;

use crate::{
    core::Core,
    destination::{Content, Way},
    store::{Fault, Stored, decode},
    view::{Lane, Records},
    websocket,
};

/// How long an invoker is tried that does not answer: by then its tokens have long ended, and it has asked anyway.
pub(super) const CALLBACK_KEPT: Duration = Duration::hours(24);

/// A message ready to be sent.
pub(crate) struct Parcel {
    /// Who is to acknowledge it.
    pub(crate) receiver: String,
    /// In whose name places are counted: the receiver's provider domain, or the receiver.
    pub(crate) owner: String,
    /// Whether the receiver is an API invoker.
    pub(crate) is_invokers: bool,
    /// Where it goes.
    pub(crate) target: Target,
    /// What is sent.
    pub(crate) body: Bytes,
    /// What that is about.
    pub(crate) content: Content,
    /// When it was decided.
    pub(crate) raised: DateTime,
    /// How long it is offered.
    pub(crate) kept: Duration,
    /// Whether its delay is for a person to look at. That of an invoker is its own affair.
    pub(crate) alarms: bool,
    /// The commit that wrote it.
    pub(crate) revision: Revision,
    kind: Kind,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To a place that was asked for, by POST, in one of these ways.
    Post(String, Vec<Way>),
    /// Over the WebSocket of this resource, see [`websocket::key`].
    Socket(String),
}

impl Parcel {
    /// What it is, in a word.
    pub(crate) fn what(&self) -> String {
        #[derive(Deserialize)]
        struct Content {
            events: Option<String>,
            subscription: Option<String>,
        }
        let content: Option<Content> = serde_json::from_slice(&self.body).ok();
        match (self.kind, content) {
            (Kind::Revocation, _) => "revoke-authorization".to_owned(),
            (
                _,
                Some(Content {
                    events: Some(event),
                    ..
                }),
            ) => event,
            (
                _,
                Some(Content {
                    subscription: Some(_),
                    ..
                }),
            ) => "TestNotification".to_owned(),
            (Kind::Callback, _) => "callback".to_owned(),
            _ => "notification".to_owned(),
        }
    }

    /// The address in words.
    pub(crate) fn destination(&self) -> &str {
        match &self.target {
            Target::Post(destination, _) => destination,
            Target::Socket(_) => "its WebSocket",
        }
    }
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
    let Some(stored) = core.store.get(key).await? else {
        return Ok(Found::Nothing);
    };
    let parcel = match key.kind {
        Kind::Notification => notification(core, key, &stored)?,
        Kind::Revocation => revocation(core, key, &stored)?,
        Kind::Callback => callback(core, key, &stored)?,
        _ => None,
    };
    Ok(parcel.map_or(Found::Nothing, |parcel| Found::Parcel(Box::new(parcel))))
}

/// The part of a waiting notification that its delivery looks at. What is sent is taken as it stands there.
#[derive(Deserialize)]
struct Waiting<'a> {
    #[serde(borrow)]
    subscriber: Cow<'a, str>,
    #[serde(borrow)]
    notification: &'a RawValue,
    raised: DateTime,
}

fn notification(core: &Core, key: &Key, stored: &Stored) -> Result<Option<Parcel>, Fault> {
    let Ok(waiting) = serde_json::from_slice::<Waiting<'_>>(&stored.value) else {
        // Says what is wrong with it.
        decode::<Notification>(key, stored)?;
        return Ok(None);
    };
    let lane = Lane::of(key);
    let records = core.view.read();
    let Some(held) = records.subscription_of(&lane) else {
        return Ok(None);
    };
    let wanted = &held.record.subscription;
    let socket = wanted.websock_notif_config.as_ref();
    let target = match socket.and_then(|config| config.websocket_uri.as_ref()) {
        Some(uri) => Target::Socket(websocket::key(uri.as_str()).to_owned()),
        None => {
            let destination = wanted.notification_destination.as_str();
            let ways = core.ways(&records, &waiting.subscriber, destination, Content::Notice);
            if ways.is_empty() && core.config.is_lenient() {
                core.say_untold(destination, Content::Notice);
                return Ok(None);
            }
            Target::Post(destination.to_owned(), ways)
        }
    };
    let is_invokers = held.record.role == Role::ApiInvoker;
    Ok(Some(Parcel {
        owner: owner(&records, &waiting.subscriber),
        receiver: waiting.subscriber.into_owned(),
        is_invokers,
        target,
        body: stored
            .value
            .slice_ref(waiting.notification.get().as_bytes()),
        content: Content::Notice,
        raised: waiting.raised,
        kept: kept(core),
        alarms: !is_invokers,
        revision: stored.revision,
        kind: Kind::Notification,
    }))
}

#[derive(Deserialize)]
struct WaitingRevocation<'a> {
    aef_id: AefId,
    #[serde(borrow)]
    authority: Cow<'a, str>,
    #[serde(borrow)]
    request: &'a RawValue,
    raised: DateTime,
}

fn revocation(core: &Core, key: &Key, stored: &Stored) -> Result<Option<Parcel>, Fault> {
    let Ok(held) = serde_json::from_slice::<WaitingRevocation<'_>>(&stored.value) else {
        decode::<Revocation>(key, stored)?;
        return Ok(None);
    };
    let receiver = held.aef_id.to_string();
    let destination = format!(
        "https://{}/aef-security/v1/revoke-authorization",
        held.authority
    );
    let records = core.view.read();
    // An AEF is called where it serves, and nobody else is.
    let ways = core.ways(&records, &receiver, &destination, Content::Notice);
    let ways = ways.into_iter().filter(|way| *way == Way::Own).collect();
    Ok(Some(Parcel {
        owner: owner(&records, &receiver),
        receiver,
        is_invokers: false,
        target: Target::Post(destination, ways),
        body: stored.value.slice_ref(held.request.get().as_bytes()),
        content: Content::Notice,
        raised: held.raised,
        kept: kept(core),
        alarms: true,
        revision: stored.revision,
        kind: Kind::Revocation,
    }))
}

fn callback(core: &Core, key: &Key, stored: &Stored) -> Result<Option<Parcel>, Fault> {
    let held = decode::<Callback>(key, stored)?.record;
    let destination = held.destination.as_str();
    let receiver = held.invoker_id.to_string();
    let content = match held.notification {
        Tidings::Revocation(_) | Tidings::Test(_) => Content::Notice,
        Tidings::Onboarding(_) | Tidings::Sealed { .. } => Content::Enrolment,
    };
    let target = if destination.starts_with("wss://") {
        Target::Socket(websocket::key(destination).to_owned())
    } else {
        let ways = core.ways(&core.view.read(), &receiver, destination, content);
        // The operator may have thought better of it since.
        if ways.is_empty() {
            core.say_untold(destination, content);
            return Ok(None);
        }
        Target::Post(destination.to_owned(), ways)
    };
    let body = match &held.notification {
        Tidings::Sealed { sealed } => {
            let purpose = Callback::purpose(&held.invoker_id, &held.destination);
            let Some(opened) = core.sealing.open_octets(sealed.as_str(), &purpose) else {
                tracing::error!(receiver, "a sealed notification does not open");
                return Ok(None);
            };
            // Its copy on the way out is the client's, which does not keep it.
            Bytes::copy_from_slice(&opened)
        }
        tidings => json(tidings),
    };
    Ok(Some(Parcel {
        owner: receiver.clone(),
        receiver,
        is_invokers: true,
        target,
        body,
        content,
        raised: held.raised,
        kept: CALLBACK_KEPT,
        alarms: false,
        revision: stored.revision,
        kind: Callback::KIND,
    }))
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
fn json(content: &impl Serialize) -> Bytes {
    serde_json::to_vec(content).unwrap_or_default().into()
}
