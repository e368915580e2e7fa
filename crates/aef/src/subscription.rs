//! The gateway's subscription to the events by which it keeps what it knows current (TS 29.222 clause 5.4). Processes of one AEF
//! each have their own, told apart by where notifications go.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use capif_client::{ErrorKind, Keystore, Locked, Provider};
use capif_procedures::events::TRUST_UPDATED;
use capif_spec::{
    common::{SubscriptionId, Uri},
    events::CapifEvent,
};
use http::StatusCode;

use crate::gateway::GatewayError;

/// The name under which the subscriptions are kept.
const SUBSCRIPTIONS: &str = "gateway-subscriptions";

/// What the gateway hears of.
const EVENTS: [CapifEvent; 6] = [
    CapifEvent::ApiInvokerOffboarded,
    CapifEvent::ApiInvokerAuthorizationRevoked,
    CapifEvent::ApiInvokerUpdated,
    CapifEvent::ServiceApiUpdate,
    CapifEvent::AccessControlPolicyUpdate,
    CapifEvent::AccessControlPolicyUnavailable,
];

/// All of it. The last one is of this product's own: whom to believe has changed.
fn events(with_own: bool) -> Vec<CapifEvent> {
    let own = with_own.then(|| CapifEvent::from(TRUST_UPDATED));
    EVENTS.into_iter().chain(own).collect()
}

/// The subscriptions of this folder by destination.
type Kept = BTreeMap<String, SubscriptionId>;

/// The subscription of this process.
pub(crate) struct Subscription {
    provider: Arc<Provider>,
    dir: PathBuf,
    destination: Uri,
    id: ArcSwap<SubscriptionId>,
    /// Whether the core function takes an event that the standard does not name.
    with_own: AtomicBool,
}

impl Subscription {
    /// Makes sure of it. A gateway that is the `only` one ends those of others and takes over one of them, so that what waits
    /// for delivery there reaches it.
    pub(crate) async fn make(
        provider: Arc<Provider>,
        dir: PathBuf,
        destination: Uri,
        only: bool,
    ) -> Result<Self, GatewayError> {
        let keystore = Keystore::open(&dir)?;
        let locked = keystore.lock().await?;
        let mut kept = kept(&keystore)?;
        let known = kept.remove(destination.as_str()).or_else(|| {
            let taken = only.then(|| kept.pop_first());
            taken.flatten().map(|(_, id)| id)
        });
        let with_own = AtomicBool::new(true);
        let id = match known {
            Some(id) if renew(&provider, &id, &destination, &with_own).await? => id,
            _ => subscribe(&provider, &destination, &with_own).await?,
        };
        if only {
            for other in std::mem::take(&mut kept).into_values() {
                match provider.unsubscribe(&other).await {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
            }
        }
        kept.insert(destination.to_string(), id.clone());
        keep(&locked, &kept)?;
        Ok(Self {
            provider,
            dir,
            destination,
            id: ArcSwap::from_pointee(id),
            with_own,
        })
    }

    /// Its id as it is now.
    pub(crate) fn id(&self) -> Arc<SubscriptionId> {
        self.id.load_full()
    }

    /// Looks whether the core function still has it, and subscribes anew if not. Says whether events may have been missed.
    pub(crate) async fn look(&self) -> Result<bool, GatewayError> {
        let id = self.id.load_full();
        if renew(&self.provider, &id, &self.destination, &self.with_own).await? {
            return Ok(false);
        }
        let id = subscribe(&self.provider, &self.destination, &self.with_own).await?;
        tracing::warn!(subscription = %id, "the core function had lost the subscription; there is a new one");
        self.id.store(Arc::new(id.clone()));
        let keystore = Keystore::open(&self.dir)?;
        let locked = keystore.lock().await?;
        let mut kept = kept(&keystore)?;
        kept.insert(self.destination.to_string(), id);
        keep(&locked, &kept)?;
        Ok(true)
    }
}

fn kept(keystore: &Keystore) -> Result<Kept, GatewayError> {
    Ok(keystore.load(SUBSCRIPTIONS)?.unwrap_or_default())
}

fn keep(locked: &Locked, kept: &Kept) -> Result<(), GatewayError> {
    Ok(locked.store(SUBSCRIPTIONS, kept)?)
}

/// Whether the subscription is there and is as it should be.
async fn renew(
    provider: &Provider,
    id: &SubscriptionId,
    destination: &Uri,
    with_own: &AtomicBool,
) -> Result<bool, capif_client::Error> {
    with_or_without(with_own, |events| update(provider, id, events, destination)).await
}

async fn update(
    provider: &Provider,
    id: &SubscriptionId,
    events: Vec<CapifEvent>,
    destination: &Uri,
) -> Result<bool, capif_client::Error> {
    let updated = provider.update_subscription(id, events, destination.clone());
    match updated.await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

async fn subscribe(
    provider: &Provider,
    destination: &Uri,
    with_own: &AtomicBool,
) -> Result<SubscriptionId, capif_client::Error> {
    with_or_without(with_own, |events| {
        provider.subscribe(events, destination.clone())
    })
    .await
}

/// Asks for all events, or, of a core function that has once refused the one which the standard does not name, for the others.
async fn with_or_without<T, F>(
    with_own: &AtomicBool,
    ask: impl Fn(Vec<CapifEvent>) -> F,
) -> Result<T, capif_client::Error>
where
    F: Future<Output = Result<T, capif_client::Error>>,
{
    if !with_own.load(Ordering::Relaxed) {
        return ask(events(false)).await;
    }
    match ask(events(true)).await {
        Err(capif_client::Error::Refused { status, .. }) if says_no(status) => {
            let answer = ask(events(false)).await?;
            with_own.store(false, Ordering::Relaxed);
            tracing::info!(
                "the core function does not tell when its roots change: they are compared from time to time"
            );
            Ok(answer)
        }
        answer => answer,
    }
}

/// Whether a refusal is for what was asked, and not for the moment.
fn says_no(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn a_core_function_that_refuses_the_own_event_is_asked_for_the_others() {
        let with_own = AtomicBool::new(true);
        let asked = RefCell::new(Vec::new());
        let strict = |events: Vec<CapifEvent>| {
            let refused = events.contains(&CapifEvent::from(TRUST_UPDATED));
            asked.borrow_mut().push(events.len());
            std::future::ready(if refused { Err(refusal(400)) } else { Ok(()) })
        };
        with_or_without(&with_own, strict).await.unwrap();
        with_or_without(&with_own, strict).await.unwrap();
        assert_eq!(*asked.borrow(), [7, 6, 6]);
        assert!(!with_own.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn any_other_failure_is_one() {
        for status in [401, 503] {
            let with_own = AtomicBool::new(true);
            let ask = |_| std::future::ready(Err::<(), _>(refusal(status)));
            assert!(with_or_without(&with_own, ask).await.is_err());
            assert!(with_own.load(Ordering::Relaxed), "{status}");
        }
    }

    fn refusal(status: u16) -> capif_client::Error {
        capif_client::Error::Refused {
            operation: "the subscription",
            address: "ccf.example:443".to_owned(),
            status: StatusCode::from_u16(status).unwrap(),
            problem: Box::default(),
            advice: "",
        }
    }
}
