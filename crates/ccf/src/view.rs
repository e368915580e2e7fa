//! The records that requests look at, in memory and decoded: fed by the store's commits before these are answered, so that
//! whoever was told of a change also sees it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use capif_procedures::{
    changes::{Key, Kind, Record, Versioned},
    state::{Invoker, ProviderDomain, ProviderFunction, SecurityContext, ServiceApi, Subscription},
};
use tokio::sync::Notify;

use crate::store::{self, Committed, Fault, Observer, Page, Store, Stored};

/// The records at one moment.
#[derive(Debug, Default)]
pub struct Records {
    invokers: HashMap<String, Arc<Versioned<Invoker>>>,
    domains: BTreeMap<String, Arc<Versioned<ProviderDomain>>>,
    functions: HashMap<String, Arc<Versioned<ProviderFunction>>>,
    apis: BTreeMap<String, Arc<Versioned<ServiceApi>>>,
    contexts: HashMap<String, Arc<Versioned<SecurityContext>>>,
    subscriptions: BTreeMap<String, Arc<Versioned<Subscription>>>,
    /// Ids of notifications that wait, by subscription prefix.
    waiting: BTreeMap<String, BTreeSet<String>>,
}

impl Records {
    /// An onboarded invoker.
    #[must_use]
    pub fn invoker(&self, id: &str) -> Option<&Arc<Versioned<Invoker>>> {
        self.invokers.get(id)
    }

    /// All onboarded invokers.
    pub fn invokers(&self) -> impl Iterator<Item = &Invoker> {
        self.invokers.values().map(|held| &held.record)
    }

    /// A registered domain.
    #[must_use]
    pub fn domain(&self, id: &str) -> Option<&Arc<Versioned<ProviderDomain>>> {
        self.domains.get(id)
    }

    /// All registered domains.
    pub fn domains(&self) -> impl Iterator<Item = &ProviderDomain> {
        self.domains.values().map(|held| &held.record)
    }

    /// A function of a domain.
    #[must_use]
    pub fn function(&self, id: &str) -> Option<&Arc<Versioned<ProviderFunction>>> {
        self.functions.get(id)
    }

    /// A published API.
    #[must_use]
    pub fn api(&self, id: &str) -> Option<&Arc<Versioned<ServiceApi>>> {
        self.apis.get(id)
    }

    /// All published APIs.
    pub fn apis(&self) -> impl Iterator<Item = &ServiceApi> + Clone {
        self.apis.values().map(|held| &held.record)
    }

    /// The security context of an invoker.
    #[must_use]
    pub fn context(&self, invoker: &str) -> Option<&Arc<Versioned<SecurityContext>>> {
        self.contexts.get(invoker)
    }

    /// All security contexts.
    pub fn contexts(&self) -> impl Iterator<Item = &SecurityContext> {
        self.contexts.values().map(|held| &held.record)
    }

    /// A subscription.
    #[must_use]
    pub fn subscription(
        &self,
        subscriber: &str,
        id: &str,
    ) -> Option<&Arc<Versioned<Subscription>>> {
        self.subscriptions.get(&format!("{subscriber}/{id}"))
    }

    /// All subscriptions.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> + Clone {
        self.subscriptions.values().map(|held| &held.record)
    }

    /// How many subscriptions a subscriber holds.
    #[must_use]
    pub fn subscriptions_of(&self, subscriber: &str) -> usize {
        let prefix = Subscription::prefix(subscriber);
        self.subscriptions
            .range(prefix.clone()..)
            .take_while(|(id, _)| id.starts_with(&prefix))
            .count()
    }

    /// The subscriptions, by their prefix, under which notifications wait.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        self.waiting.keys().cloned().collect()
    }

    /// How many notifications wait under a subscription.
    #[must_use]
    pub fn waiting_under(&self, prefix: &str) -> usize {
        self.waiting.get(prefix).map_or(0, BTreeSet::len)
    }

    /// The notification that is next under a subscription.
    #[must_use]
    pub fn next_notification(&self, prefix: &str) -> Option<&String> {
        self.waiting.get(prefix)?.first()
    }

    fn put(&mut self, key: &Key, stored: &Stored) -> Result<(), Fault> {
        fn decode<R: Record>(key: &Key, stored: &Stored) -> Result<Arc<Versioned<R>>, Fault> {
            store::decode(key, stored).map(Arc::new)
        }
        let id = key.id.clone();
        match key.kind {
            Kind::Invoker => drop(self.invokers.insert(id, decode(key, stored)?)),
            Kind::ProviderDomain => drop(self.domains.insert(id, decode(key, stored)?)),
            Kind::ProviderFunction => drop(self.functions.insert(id, decode(key, stored)?)),
            Kind::ServiceApi => drop(self.apis.insert(id, decode(key, stored)?)),
            Kind::SecurityContext => drop(self.contexts.insert(id, decode(key, stored)?)),
            Kind::Subscription => drop(self.subscriptions.insert(id, decode(key, stored)?)),
            Kind::Notification => {
                self.waiting
                    .entry(subscription_of(&id))
                    .or_default()
                    .insert(id);
            }
            Kind::CredentialUse
            | Kind::RegisteredCredential
            | Kind::ServiceApiName
            | Kind::InvocationLog => {}
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key) {
        let id = key.id.as_str();
        match key.kind {
            Kind::Invoker => drop(self.invokers.remove(id)),
            Kind::ProviderDomain => drop(self.domains.remove(id)),
            Kind::ProviderFunction => drop(self.functions.remove(id)),
            Kind::ServiceApi => drop(self.apis.remove(id)),
            Kind::SecurityContext => drop(self.contexts.remove(id)),
            Kind::Subscription => drop(self.subscriptions.remove(id)),
            Kind::Notification => {
                let prefix = subscription_of(id);
                if let Some(waiting) = self.waiting.get_mut(&prefix) {
                    waiting.remove(id);
                    if waiting.is_empty() {
                        self.waiting.remove(&prefix);
                    }
                }
            }
            Kind::CredentialUse
            | Kind::RegisteredCredential
            | Kind::ServiceApiName
            | Kind::InvocationLog => {}
        }
    }
}

/// The prefix of a notification's id: all but its sequence.
fn subscription_of(id: &str) -> String {
    id.rfind('/')
        .and_then(|end| id.get(..=end))
        .unwrap_or(id)
        .to_owned()
}

/// The view of a store.
#[derive(Debug, Default)]
pub struct View {
    records: RwLock<Records>,
    notifications: Arc<Notify>,
}

/// The kinds that are kept in memory.
const KINDS: [Kind; 7] = [
    Kind::Invoker,
    Kind::ProviderDomain,
    Kind::ProviderFunction,
    Kind::ServiceApi,
    Kind::SecurityContext,
    Kind::Subscription,
    Kind::Notification,
];

impl View {
    /// Loads the view and keeps it current from then on. To be called before anyone else writes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(store: &dyn Store) -> Result<Arc<Self>, Fault> {
        let view = Arc::new(Self::default());
        for kind in KINDS {
            let mut after = None;
            loop {
                let page = Page {
                    kind,
                    prefix: String::new(),
                    after: after.take(),
                    limit: 1000,
                };
                let found = store.scan(page).await?;
                let Some((last, _)) = found.last() else { break };
                after = Some(last.id.clone());
                let mut records = view.records.write().unwrap_or_else(PoisonError::into_inner);
                for (key, stored) in &found {
                    records.put(key, stored)?;
                }
            }
        }
        store.watch(Arc::clone(&view) as Arc<dyn Observer>);
        Ok(view)
    }

    /// The records now. To be let go of before anything is waited for.
    pub fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever delivers notifications.
    #[must_use]
    pub fn notifications(&self) -> &Arc<Notify> {
        &self.notifications
    }
}

impl Observer for View {
    fn committed(&self, committed: &Committed) {
        let mut notifications = false;
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        for key in &committed.deletes {
            records.delete(key);
        }
        for (key, stored) in &committed.puts {
            notifications |= key.kind == Kind::Notification;
            if let Err(error) = records.put(key, stored) {
                tracing::error!(kind = ?key.kind, id = key.id, %error, "a record does not decode");
                records.delete(key);
            }
        }
        drop(records);
        if notifications {
            self.notifications.notify_one();
        }
    }
}
