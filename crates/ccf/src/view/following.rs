//! How the records follow the store.

use std::sync::Arc;

use capif_procedures::{
    changes::{Key, Kind, Record, Versioned},
    state::{Digest, Invoker, PendingEnrolment, ProviderFunction},
};

use super::{Lane, Records};
use crate::store::{self, Fault, Stored};

/// Whether records of a kind are kept in memory.
pub(super) fn is_kept(kind: Kind) -> bool {
    match kind {
        Kind::TopologyHiding
        | Kind::PendingEnrolment
        | Kind::Reporting
        | Kind::OperatorCredential
        | Kind::LogRetention
        | Kind::RegisteredCredential
        | Kind::Invoker
        | Kind::ProviderDomain
        | Kind::ProviderFunction
        | Kind::ServiceApi
        | Kind::SecurityContext
        | Kind::Subscription
        | Kind::Notification
        | Kind::AccessControlPolicy
        | Kind::Usage
        | Kind::DiscoveryPolicy
        | Kind::Revocation
        | Kind::Callback => true,
        Kind::CredentialUse
        | Kind::ServiceApiName
        | Kind::InvocationLog
        | Kind::RevokedCertificate
        | Kind::Departure
        | Kind::Audit
        | Kind::Authority
        | Kind::TokenKey
        | Kind::Account => false,
    }
}

impl Records {
    pub(super) fn put(&mut self, key: &Key, stored: &Stored) -> Result<(), Fault> {
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
                self.tally.add(&held.record.reach);
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
            Kind::Reporting => drop(self.reportings.insert(id, decode(key, stored)?)),
            Kind::AccessControlPolicy => drop(self.policies.insert(id, decode(key, stored)?)),
            Kind::Usage => drop(self.usages.insert(id, decode(key, stored)?)),
            Kind::PendingEnrolment => self.put_pending(decode(key, stored)?),
            Kind::DiscoveryPolicy => self.shown.put(store::decode(key, stored)?.record),
            Kind::OperatorCredential => drop(self.operators.insert(id, decode(key, stored)?)),
            Kind::LogRetention => drop(self.retentions.insert(id, decode(key, stored)?)),
            Kind::TopologyHiding => self.hidings.put(decode(key, stored)?),
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
            | Kind::TokenKey
            | Kind::Account => {}
        }
        Ok(())
    }

    fn put_pending(&mut self, held: Arc<Versioned<PendingEnrolment>>) {
        self.delete_pending(held.record.id.as_str());
        self.agenda.add_pending(&held.record);
        let id = held.record.id.to_string();
        if let Some(credential) = held.record.credential() {
            self.asked.insert(credential.to_string(), id.clone());
        }
        self.pending.insert(id, held);
    }

    fn delete_pending(&mut self, id: &str) {
        if let Some(before) = self.pending.remove(id) {
            self.agenda.remove_pending(&before.record);
            if let Some(credential) = before.record.credential() {
                self.asked.remove(credential.as_str());
            }
        }
    }

    /// Takes an invoker out of what is kept besides for looking it up.
    fn forget(&mut self, invoker: &Invoker) {
        self.agenda.remove_invoker(invoker);
        self.tally.remove(&invoker.reach);
        if let Some(credential) = credential_of(invoker) {
            self.enrolled.remove(credential.as_str());
        }
    }

    pub(super) fn delete(&mut self, key: &Key) {
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
            Kind::Reporting => drop(self.reportings.remove(id)),
            Kind::AccessControlPolicy => drop(self.policies.remove(id)),
            Kind::Usage => drop(self.usages.remove(id)),
            Kind::PendingEnrolment => self.delete_pending(id),
            Kind::DiscoveryPolicy => self.shown.remove(id),
            Kind::OperatorCredential => drop(self.operators.remove(id)),
            Kind::LogRetention => drop(self.retentions.remove(id)),
            Kind::TopologyHiding => self.hidings.remove(id),
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
            | Kind::TokenKey
            | Kind::Account => {}
        }
    }
}

/// The mark of use of the credential by which an invoker can be given the answer to its onboarding again.
fn credential_of(invoker: &Invoker) -> Option<&Digest> {
    invoker.renewal.handover.as_ref()?.credential.as_ref()
}
