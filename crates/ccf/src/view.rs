//! The records that requests look at, in memory and decoded: fed by the store's commits before these are answered, so that
//! whoever was told of a change also sees it.

mod certificates;
mod following;
mod lookups;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use capif_procedures::{
    changes::{Key, Kind, Versioned},
    discovery::{Catalogue, Policies},
    onboarding::Tally,
    state::{
        AccessControlPolicy, Digest, Frames, Invoker, LogRetention, OperatorCredential,
        PendingEnrolment, ProviderDomain, ProviderFunction, RegisteredCredential, Reporting,
        SecurityContext, Subscription, Usage,
    },
    topology_hiding::Rules,
};
use capif_spec::common::ApiInvokerId;
use tokio::sync::Notify;

pub(crate) use self::certificates::{Name, serial_of};
use self::{certificates::Certificates, following::is_kept};
use crate::{
    agenda::Agenda,
    store::{Committed, Fault, Observer, Page, Store},
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
    pub(crate) fn of(key: &Key) -> Self {
        let end = key.id.rfind('/');
        let prefix = end.and_then(|end| key.id.get(..=end)).unwrap_or(&key.id);
        Self::new(key.kind, prefix)
    }
}

/// The records at one moment.
#[derive(Debug, Default)]
pub struct Records {
    invokers: HashMap<Arc<str>, Arc<Versioned<Invoker>>>,
    credentials: HashMap<String, Arc<Versioned<RegisteredCredential>>>,
    domains: BTreeMap<String, Arc<Versioned<ProviderDomain>>>,
    /// Who can be given the answer to its onboarding again, by the mark of use of its credential.
    enrolled: HashMap<Digest, ApiInvokerId>,
    /// How many invokers reach what.
    tally: Tally,
    /// What waits for the operator.
    pending: BTreeMap<String, Arc<Versioned<PendingEnrolment>>>,
    /// Which onboarding waits, by the mark of use of its credential.
    asked: HashMap<Digest, ApiInvokerId>,
    functions: HashMap<String, Arc<Versioned<ProviderFunction>>>,
    apis: Catalogue,
    contexts: HashMap<Arc<str>, Arc<Versioned<SecurityContext>>>,
    subscriptions: BTreeMap<String, Arc<Versioned<Subscription>>>,
    reportings: HashMap<String, Arc<Versioned<Reporting>>>,
    policies: BTreeMap<String, Arc<Versioned<AccessControlPolicy>>>,
    /// What hides the topology behind APIs.
    hidings: Rules,
    usages: HashMap<String, Arc<Versioned<Usage>>>,
    shown: Policies,
    operators: BTreeMap<String, Arc<Versioned<OperatorCredential>>>,
    retentions: BTreeMap<String, Arc<Versioned<LogRetention>>>,
    agenda: Agenda,
    /// What is held by whom is not said here: it is for telling what is held by nobody.
    certificates: Certificates,
    /// What the texts of certificates and keys share.
    frames: Frames,
    /// Ids of messages that wait.
    waiting: BTreeMap<Lane, BTreeSet<String>>,
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

impl View {
    /// Loads the view and keeps it current from then on. To be called before anyone else writes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(store: &dyn Store) -> Result<Arc<Self>, Fault> {
        let view = Arc::new(Self::default());
        for kind in Kind::ALL.into_iter().filter(|kind| is_kept(*kind)) {
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
