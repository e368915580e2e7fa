//! The records that requests look at, in memory and decoded: fed by the store's commits before these are answered, so that
//! whoever was told of a change also sees it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use capif_procedures::{
    access_control::Member,
    changes::{Key, Kind, Record, Revision, Versioned},
    offboarding::Around,
    state::{
        AccessControlPolicy, Invoker, ProviderDomain, ProviderFunction, SecurityContext,
        ServiceApi, Subscription, Usage,
    },
};
use capif_spec::common::{ApiInvokerId, ServiceApiId};
use tokio::sync::Notify;

use crate::store::{self, Committed, Fault, Observer, Page, Store, Stored};

/// Where messages of one kind wait for one receiver, to be delivered in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The kind of record.
    pub kind: Kind,
    /// The beginning of their ids: all but the sequence.
    pub prefix: String,
}

impl Lane {
    /// The lane of these ids.
    pub fn new(kind: Kind, prefix: impl Into<String>) -> Self {
        Self {
            kind,
            prefix: prefix.into(),
        }
    }

    /// The lane of a message.
    fn of(key: &Key) -> Self {
        let end = key.id.rfind('/');
        let prefix = end.and_then(|end| key.id.get(..=end)).unwrap_or(&key.id);
        Self::new(key.kind, prefix)
    }
}

/// The records at one moment.
#[derive(Debug, Default)]
pub struct Records {
    invokers: HashMap<String, Arc<Versioned<Invoker>>>,
    domains: BTreeMap<String, Arc<Versioned<ProviderDomain>>>,
    functions: HashMap<String, Arc<Versioned<ProviderFunction>>>,
    apis: BTreeMap<String, Arc<Versioned<ServiceApi>>>,
    contexts: HashMap<String, Arc<Versioned<SecurityContext>>>,
    subscriptions: BTreeMap<String, Arc<Versioned<Subscription>>>,
    policies: BTreeMap<String, Arc<Versioned<AccessControlPolicy>>>,
    usages: HashMap<String, Arc<Versioned<Usage>>>,
    /// Ids of messages that wait.
    waiting: BTreeMap<Lane, BTreeSet<String>>,
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

    /// All invokers that have a security context.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> + Clone {
        self.contexts.iter().filter_map(|(id, context)| {
            Some(Member {
                invoker: &self.invokers.get(id)?.record,
                context: &context.record,
            })
        })
    }

    /// An invoker with its security context.
    #[must_use]
    pub fn member(&self, id: &str) -> Option<Member<'_>> {
        Some(Member {
            invoker: &self.invokers.get(id)?.record,
            context: &self.contexts.get(id)?.record,
        })
    }

    /// What the removal of an invoker touches.
    pub fn around(
        &self,
        invoker: &str,
    ) -> Around<
        '_,
        impl Iterator<Item = &ServiceApi> + Clone,
        impl Iterator<Item = &AccessControlPolicy>,
        impl Iterator<Item = &Subscription> + Clone,
    > {
        Around {
            context: self.context(invoker).map(|held| &held.record),
            apis: self.apis(),
            policies: self.policies(),
            subscriptions: self.subscriptions(),
        }
    }

    /// The access control policy of an API for an invoker, or for everyone.
    #[must_use]
    pub fn policy(
        &self,
        api: &ServiceApiId,
        invoker: Option<&ApiInvokerId>,
    ) -> Option<&Arc<Versioned<AccessControlPolicy>>> {
        self.policies.get(&AccessControlPolicy::id(api, invoker))
    }

    /// The access control policies of an API.
    pub fn policies_of(&self, api: &ServiceApiId) -> impl Iterator<Item = &AccessControlPolicy> {
        let prefix = AccessControlPolicy::prefix(api);
        self.policies
            .range(prefix.clone()..)
            .take_while(move |(id, _)| id.starts_with(&prefix))
            .map(|(_, held)| &held.record)
    }

    /// All access control policies.
    pub fn policies(&self) -> impl Iterator<Item = &AccessControlPolicy> {
        self.policies.values().map(|held| &held.record)
    }

    /// The commit that wrote a policy last.
    #[must_use]
    pub fn policies_revision(&self) -> Revision {
        let revisions = self.policies.values().map(|held| held.revision);
        revisions.max().unwrap_or_default()
    }

    /// What an invoker used of an API.
    #[must_use]
    pub fn usage(
        &self,
        invoker: &ApiInvokerId,
        api: &ServiceApiId,
    ) -> Option<&Arc<Versioned<Usage>>> {
        self.usages.get(&Usage::id(invoker, api))
    }

    /// What all invokers used of all APIs.
    pub fn usages(&self) -> impl Iterator<Item = &Usage> {
        self.usages.values().map(|held| &held.record)
    }

    /// Where messages wait.
    pub fn waiting(&self) -> impl Iterator<Item = &Lane> {
        self.waiting.keys()
    }

    /// How many messages wait in a lane.
    #[must_use]
    pub fn waiting_in(&self, lane: &Lane) -> usize {
        self.waiting.get(lane).map_or(0, BTreeSet::len)
    }

    /// The message that is next in a lane.
    #[must_use]
    pub fn next_in(&self, lane: &Lane) -> Option<&String> {
        self.waiting.get(lane)?.first()
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
            Kind::AccessControlPolicy => drop(self.policies.insert(id, decode(key, stored)?)),
            Kind::Usage => drop(self.usages.insert(id, decode(key, stored)?)),
            Kind::Notification | Kind::Revocation | Kind::Callback => {
                self.waiting.entry(Lane::of(key)).or_default().insert(id);
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
            Kind::AccessControlPolicy => drop(self.policies.remove(id)),
            Kind::Usage => drop(self.usages.remove(id)),
            Kind::Notification | Kind::Revocation | Kind::Callback => {
                let lane = Lane::of(key);
                if let Some(waiting) = self.waiting.get_mut(&lane) {
                    waiting.remove(id);
                    if waiting.is_empty() {
                        self.waiting.remove(&lane);
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

/// The view of a store.
#[derive(Debug, Default)]
pub struct View {
    records: RwLock<Records>,
    messages: Arc<Notify>,
    callbacks: Arc<Notify>,
    withdrawn: Arc<Notify>,
}

/// The kinds that are kept in memory.
const KINDS: [Kind; 11] = [
    Kind::Invoker,
    Kind::ProviderDomain,
    Kind::ProviderFunction,
    Kind::ServiceApi,
    Kind::SecurityContext,
    Kind::Subscription,
    Kind::Notification,
    Kind::AccessControlPolicy,
    Kind::Usage,
    Kind::Revocation,
    Kind::Callback,
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

    /// Wakes whoever delivers to provider functions and subscribers.
    #[must_use]
    pub fn messages(&self) -> &Arc<Notify> {
        &self.messages
    }

    /// Wakes whoever delivers to invokers.
    #[must_use]
    pub fn callbacks(&self) -> &Arc<Notify> {
        &self.callbacks
    }

    /// Wakes whoever removes what withdrawn APIs leave behind.
    #[must_use]
    pub fn withdrawn(&self) -> &Arc<Notify> {
        &self.withdrawn
    }
}

impl Observer for View {
    fn committed(&self, committed: &Committed) {
        let (mut messages, mut callbacks) = (false, false);
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        for key in &committed.deletes {
            records.delete(key);
        }
        for (key, stored) in &committed.puts {
            messages |= matches!(key.kind, Kind::Notification | Kind::Revocation);
            callbacks |= key.kind == Kind::Callback;
            if let Err(error) = records.put(key, stored) {
                tracing::error!(kind = ?key.kind, id = key.id, %error, "a record does not decode");
                records.delete(key);
            }
        }
        drop(records);
        if messages {
            self.messages.notify_one();
        }
        if callbacks {
            self.callbacks.notify_one();
        }
        let is_api = |key: &Key| key.kind == Kind::ServiceApi;
        if committed.deletes.iter().any(is_api) {
            self.withdrawn.notify_one();
        }
    }
}
