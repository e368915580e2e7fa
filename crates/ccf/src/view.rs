//! The records that requests look at, in memory and decoded: fed by the store's commits before these are answered, so that
//! whoever was told of a change also sees it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use capif_procedures::{
    access_control::Member,
    changes::{Key, Kind, Record, Revision, Versioned},
    discovery::Catalogue,
    offboarding::Around,
    registration,
    state::{
        AccessControlPolicy, Digest, Invoker, ProviderDomain, ProviderFunction,
        RegisteredCredential, SecurityContext, ServiceApi, Subscription, Usage,
    },
};
use capif_spec::common::{ApiInvokerId, ServiceApiId};
use tokio::sync::Notify;

use crate::{
    agenda::Agenda,
    store::{self, Committed, Fault, Observer, Page, Store, Stored},
};

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
    credentials: HashMap<String, Arc<Versioned<RegisteredCredential>>>,
    domains: BTreeMap<String, Arc<Versioned<ProviderDomain>>>,
    /// Who can be given the answer to its onboarding again, by the mark of use of its credential.
    enrolled: HashMap<String, String>,
    functions: HashMap<String, Arc<Versioned<ProviderFunction>>>,
    apis: Catalogue,
    contexts: HashMap<String, Arc<Versioned<SecurityContext>>>,
    subscriptions: BTreeMap<String, Arc<Versioned<Subscription>>>,
    policies: BTreeMap<String, Arc<Versioned<AccessControlPolicy>>>,
    usages: HashMap<String, Arc<Versioned<Usage>>>,
    agenda: Agenda,
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

    /// The invoker that was onboarded by a credential, for as long as it can be given the answer again.
    #[must_use]
    pub fn enrolled_by(&self, credential: &Digest) -> Option<&Invoker> {
        let id = self.enrolled.get(credential.as_str())?;
        self.invoker(id).map(|held| &held.record)
    }

    /// The credentials that were handed over and that nobody has used.
    pub fn credentials(&self) -> impl Iterator<Item = &RegisteredCredential> {
        self.credentials.values().map(|held| &held.record)
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

    /// All functions of all domains.
    pub fn functions(&self) -> impl Iterator<Item = &ProviderFunction> {
        self.functions.values().map(|held| &held.record)
    }

    /// A published API.
    #[must_use]
    pub fn api(&self, id: &str) -> Option<&Arc<Versioned<ServiceApi>>> {
        self.apis.get(id)
    }

    /// All published APIs.
    pub fn apis(&self) -> impl Iterator<Item = &ServiceApi> + Clone {
        self.apis.iter()
    }

    /// All published APIs with their index.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.apis
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

    /// What the removal of provider functions touches.
    pub fn around_functions(
        &self,
    ) -> registration::Around<
        impl Iterator<Item = &ServiceApi> + Clone,
        impl Iterator<Item = &Subscription> + Clone,
        impl Iterator<Item = &Versioned<SecurityContext>>,
    > {
        registration::Around {
            apis: self.apis(),
            subscriptions: self.subscriptions(),
            contexts: self.contexts.values().map(AsRef::as_ref),
        }
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
        self.subscriptions_by(subscriber).count()
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
            subscriptions: self.listeners(invoker),
            calls: self.calls_of(invoker),
        }
    }

    /// How often an invoker called, as far as calls were counted.
    fn calls_of(&self, invoker: &str) -> Option<u64> {
        let invoker = ApiInvokerId::new(invoker);
        let counted = self.apis().filter_map(|api| self.usage(&invoker, &api.id));
        counted
            .map(|usage| usage.record.calls)
            .reduce(u64::saturating_add)
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

    /// What time does to whom.
    #[must_use]
    pub fn agenda(&self) -> &Agenda {
        &self.agenda
    }

    /// The subscriptions that hear of what is said of an invoker: its own, and those of provider functions. Other invokers hear
    /// of nobody but themselves.
    pub fn listeners<'a>(
        &'a self,
        invoker: &str,
    ) -> impl Iterator<Item = &'a Subscription> + Clone + use<'a> {
        let functions = self.functions.keys().map(String::as_str);
        std::iter::once(invoker.to_owned())
            .chain(functions.map(str::to_owned))
            .flat_map(|id| self.subscriptions_by(&id))
    }

    fn subscriptions_by<'a>(
        &'a self,
        subscriber: &str,
    ) -> impl Iterator<Item = &'a Subscription> + Clone + use<'a> {
        self.subscriptions_held_by(subscriber)
            .map(|held| &held.record)
    }

    /// The subscriptions of one subscriber.
    pub fn subscriptions_held_by<'a>(
        &'a self,
        subscriber: &str,
    ) -> impl Iterator<Item = &'a Versioned<Subscription>> + Clone + use<'a> {
        let prefix = Subscription::prefix(subscriber);
        self.subscriptions
            .range(prefix.clone()..)
            .take_while(move |(id, _)| id.starts_with(&prefix))
            .map(|(_, held)| held.as_ref())
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
            Kind::RegisteredCredential => {
                drop(self.credentials.insert(id, decode(key, stored)?));
            }
            Kind::Invoker => {
                let held: Arc<Versioned<Invoker>> = decode(key, stored)?;
                if let Some(before) = self.invokers.insert(id, Arc::clone(&held)) {
                    self.forget(&before.record);
                }
                self.agenda.add_invoker(&held.record);
                if let Some(credential) = credential_of(&held.record) {
                    let id = held.record.id.to_string();
                    self.enrolled.insert(credential.to_string(), id);
                }
            }
            Kind::ProviderDomain => drop(self.domains.insert(id, decode(key, stored)?)),
            Kind::ProviderFunction => {
                let held: Arc<Versioned<ProviderFunction>> = decode(key, stored)?;
                if let Some(before) = self.functions.insert(id, Arc::clone(&held)) {
                    self.agenda.remove_function(&before.record);
                }
                self.agenda.add_function(&held.record);
            }
            Kind::ServiceApi => self.apis.put(decode(key, stored)?),
            Kind::SecurityContext => drop(self.contexts.insert(id, decode(key, stored)?)),
            Kind::Subscription => drop(self.subscriptions.insert(id, decode(key, stored)?)),
            Kind::AccessControlPolicy => drop(self.policies.insert(id, decode(key, stored)?)),
            Kind::Usage => drop(self.usages.insert(id, decode(key, stored)?)),
            Kind::Notification | Kind::Revocation | Kind::Callback => {
                self.waiting.entry(Lane::of(key)).or_default().insert(id);
            }
            Kind::CredentialUse
            | Kind::ServiceApiName
            | Kind::InvocationLog
            | Kind::RevokedCertificate
            | Kind::Departure
            | Kind::Audit
            | Kind::Authority
            | Kind::TokenKey => {}
        }
        Ok(())
    }

    /// Takes an invoker out of what is kept besides for looking it up.
    fn forget(&mut self, invoker: &Invoker) {
        self.agenda.remove_invoker(invoker);
        if let Some(credential) = credential_of(invoker) {
            self.enrolled.remove(credential.as_str());
        }
    }

    fn delete(&mut self, key: &Key) {
        let id = key.id.as_str();
        match key.kind {
            Kind::RegisteredCredential => drop(self.credentials.remove(id)),
            Kind::Invoker => {
                if let Some(before) = self.invokers.remove(id) {
                    self.forget(&before.record);
                }
            }
            Kind::ProviderDomain => drop(self.domains.remove(id)),
            Kind::ProviderFunction => {
                if let Some(before) = self.functions.remove(id) {
                    self.agenda.remove_function(&before.record);
                }
            }
            Kind::ServiceApi => self.apis.remove(id),
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
            | Kind::ServiceApiName
            | Kind::InvocationLog
            | Kind::RevokedCertificate
            | Kind::Departure
            | Kind::Audit
            | Kind::Authority
            | Kind::TokenKey => {}
        }
    }
}

/// The mark of use of the credential by which an invoker can be given the answer to its onboarding again.
fn credential_of(invoker: &Invoker) -> Option<&Digest> {
    invoker.renewal.handover.as_ref()?.credential.as_ref()
}

/// The view of a store.
#[derive(Debug, Default)]
pub struct View {
    records: RwLock<Records>,
    messages: Arc<Notify>,
    callbacks: Arc<Notify>,
    withdrawn: Arc<Notify>,
    earlier: Arc<Notify>,
}

/// The kinds that are kept in memory.
const KINDS: [Kind; 12] = [
    Kind::RegisteredCredential,
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

    /// Wakes whoever does what is due: something is due before all that was known.
    #[must_use]
    pub fn earlier(&self) -> &Arc<Notify> {
        &self.earlier
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
        let first = records.agenda.first();
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
        let next = records.agenda.first();
        drop(records);
        if next.is_some_and(|next| first.is_none_or(|first| next < first)) {
            self.earlier.notify_one();
        }
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
