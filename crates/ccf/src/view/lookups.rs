//! What is looked up in the records.

use std::{collections::BTreeSet, sync::Arc};

use capif_procedures::{
    access_control::{self, Member},
    changes::{Revision, Versioned},
    discovery::{Catalogue, Policies},
    events::{Circle, Present},
    offboarding::Around,
    onboarding::Tally,
    registration,
    state::{
        AccessControlPolicy, Digest, Invoker, LogRetention, OperatorCredential, PendingEnrolment,
        ProviderDomain, ProviderFunction, RegisteredCredential, Reporting, SecurityContext,
        ServiceApi, Subscription, Usage,
    },
    topology_hiding::{self, Rules},
};
use capif_spec::common::{AefId, ApiInvokerId, ServiceApiId, SubscriptionId};

use super::{Lane, Name, Records};
use crate::agenda::Agenda;

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
        let id = self.enrolled.get(credential)?;
        self.invoker(id.as_str()).map(|held| &held.record)
    }

    /// How many invokers reach what.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What of an invoker waits for the operator, by the id that it has or is to have.
    #[must_use]
    pub fn pending(&self, id: &str) -> Option<&Arc<Versioned<PendingEnrolment>>> {
        self.pending.get(id)
    }

    /// All that waits for the operator, and what was decided and is remembered.
    pub fn all_pending(&self) -> impl Iterator<Item = &PendingEnrolment> {
        self.pending.values().map(|held| &held.record)
    }

    /// The onboarding that waits for the operator, by the mark of use of its credential.
    #[must_use]
    pub fn asked_by(&self, credential: &Digest) -> Option<&Arc<Versioned<PendingEnrolment>>> {
        self.pending(self.asked.get(credential)?.as_str())
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

    /// The published APIs that a security context can be about: those of the AEFs in it.
    #[must_use]
    pub fn apis_around(&self, context: Option<&SecurityContext>) -> Vec<&ServiceApi> {
        let entries = context.into_iter().flat_map(|context| &context.entries);
        self.apis.of_aefs(entries.map(|entry| &entry.aef_id))
    }

    /// All published APIs with their index.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.apis
    }

    /// What hides the topology behind APIs.
    #[must_use]
    pub fn hidings(&self) -> &Rules {
        &self.hidings
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
        '_,
        impl Iterator<Item = &ServiceApi> + Clone,
        impl Iterator<Item = &Subscription> + Clone,
        impl Iterator<Item = &Versioned<SecurityContext>>,
    > {
        registration::Around {
            apis: self.apis(),
            rules: &self.hidings,
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

    /// What the operator shows to whom.
    #[must_use]
    pub fn discovery_policies(&self) -> &Policies {
        &self.shown
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

    /// A credential of the operator's API.
    #[must_use]
    pub fn operator(&self, name: &str) -> Option<&Arc<Versioned<OperatorCredential>>> {
        self.operators.get(name)
    }

    /// All credentials of the operator's API.
    pub fn operators(&self) -> impl ExactSizeIterator<Item = &OperatorCredential> {
        self.operators.values().map(|held| &held.record)
    }

    /// How long the invocation log entries of an API are kept, if that was set.
    #[must_use]
    pub fn retention(&self, api: &str) -> Option<&Arc<Versioned<LogRetention>>> {
        self.retentions.get(api)
    }

    /// How long the invocation log entries of APIs are kept for which that was set.
    pub fn retentions(&self) -> impl ExactSizeIterator<Item = &LogRetention> {
        self.retentions.values().map(|held| &held.record)
    }

    /// Whether somebody holds a certificate.
    pub(crate) fn is_held(&self, name: &Name) -> bool {
        self.certificates.contains(name)
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

    /// Whom besides itself an invoker concerns.
    #[must_use]
    pub fn circle(&self, invoker: &str) -> Circle {
        let context = self.context(invoker).map(|held| &held.record);
        let reach = self.invoker(invoker).map(|held| &held.record.reach);
        reach.map_or_else(Circle::default, |reach| {
            Circle::of(reach, context, &self.apis)
        })
    }

    /// How things stand, for whoever asks to be told at once when it subscribes.
    pub fn present(
        &self,
    ) -> Present<
        '_,
        impl Iterator<Item = &ServiceApi> + Clone,
        impl Iterator<Item = (&Invoker, Option<&SecurityContext>)>,
    > {
        let context = |id: &ApiInvokerId| self.context(id.as_str()).map(|held| &held.record);
        Present {
            apis: self.apis(),
            invokers: self
                .invokers()
                .map(move |invoker| (invoker, context(&invoker.id))),
            policies: Box::new(|api: &ServiceApi, aef: &AefId| {
                let policies: Vec<&AccessControlPolicy> = self.policies_of(&api.id).collect();
                (!policies.is_empty() && access_control::exposes(api, aef))
                    .then(|| access_control::list(api, aef, &policies, self.members()))
            }),
            hidden: Box::new(|api: &ServiceApi| topology_hiding::hidden(api, &self.hidings)),
        }
    }

    /// How far the reports on a subscription have come.
    #[must_use]
    pub fn reporting(
        &self,
        subscriber: &str,
        subscription: &SubscriptionId,
    ) -> Option<&Arc<Versioned<Reporting>>> {
        self.reportings
            .get(&Reporting::id(subscriber, subscription))
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

    /// The ids of the first messages in a lane, in order.
    #[must_use]
    pub fn first_in(&self, lane: &Lane, count: usize) -> Vec<String> {
        let ids = self.waiting.get(lane).into_iter().flatten();
        ids.take(count).cloned().collect()
    }

    /// The ids of the messages that wait in a lane, in order.
    pub fn ids_in<'a>(&'a self, lane: &Lane) -> impl Iterator<Item = &'a String> + use<'a> {
        self.waiting.get(lane).into_iter().flatten()
    }

    /// The subscription whose notifications wait in a lane.
    #[must_use]
    pub fn subscription_of(&self, lane: &Lane) -> Option<&Arc<Versioned<Subscription>>> {
        self.subscriptions.get(lane.prefix.trim_end_matches('/'))
    }

    /// The message that is next in a lane.
    #[must_use]
    pub fn next_in(&self, lane: &Lane) -> Option<&String> {
        self.waiting.get(lane)?.first()
    }
}
