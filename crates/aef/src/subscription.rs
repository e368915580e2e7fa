//! The gateway's subscription to the events by which it keeps what it knows current (TS 29.222 clause 5.4). Processes of one AEF
//! each have their own, told apart by where notifications go.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use capif_client::{ErrorKind, Keystore, Locked, Provider};
use capif_spec::{
    common::{SubscriptionId, Uri},
    events::CapifEvent,
};

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

/// The subscriptions of this folder by destination.
type Kept = BTreeMap<String, SubscriptionId>;

/// The subscription of this process.
pub(crate) struct Subscription {
    provider: Arc<Provider>,
    dir: PathBuf,
    destination: Uri,
    id: ArcSwap<SubscriptionId>,
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
        let id = match known {
            Some(id) if renew(&provider, &id, &destination).await? => id,
            _ => subscribe(&provider, &destination).await?,
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
        })
    }

    /// Its id as it is now.
    pub(crate) fn id(&self) -> Arc<SubscriptionId> {
        self.id.load_full()
    }

    /// Looks whether the core function still has it, and subscribes anew if not. Says whether events may have been missed.
    pub(crate) async fn look(&self) -> Result<bool, GatewayError> {
        if renew(&self.provider, &self.id.load(), &self.destination).await? {
            return Ok(false);
        }
        let id = subscribe(&self.provider, &self.destination).await?;
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
) -> Result<bool, capif_client::Error> {
    match provider
        .update_subscription(id, EVENTS.to_vec(), destination.clone())
        .await
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

async fn subscribe(
    provider: &Provider,
    destination: &Uri,
) -> Result<SubscriptionId, capif_client::Error> {
    provider
        .subscribe(EVENTS.to_vec(), destination.clone())
        .await
}
