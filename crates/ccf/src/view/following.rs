//! How the records follow the store.

use std::sync::Arc;

use capif_procedures::{
    changes::{Key, Kind, Record, Versioned},
    rotation::{Material, Renewable},
    state::{Digest, Frames, Invoker, PendingEnrolment, ProviderFunction, SecurityContext},
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
                let mut held: Versioned<Invoker> = store::decode(key, stored)?;
                share(&mut held.record, &mut self.frames);
                let held = Arc::new(held);
                let invoker = &held.record;
                if let Some(before) = self.invokers.insert(invoker.id.share(), Arc::clone(&held)) {
                    self.forget(&before.record);
                }
                self.agenda.add_invoker(invoker);
                self.tally.add(&invoker.reach);
                self.certificates
                    .add(&invoker.certificate, &invoker.renewal);
                if let Some(credential) = credential_of(invoker) {
                    self.enrolled.insert(credential.clone(), invoker.id.clone());
                }
            }
            Kind::ProviderDomain => drop(self.domains.insert(id, decode(key, stored)?)),
            Kind::ProviderFunction => {
                let mut held: Versioned<ProviderFunction> = store::decode(key, stored)?;
                share(&mut held.record, &mut self.frames);
                self.delete_function(&id);
                let held = Arc::new(held);
                let function = &held.record;
                self.agenda.add_function(function);
                self.certificates
                    .add(&function.certificate, &function.renewal);
                self.functions.insert(id, held);
            }
            Kind::ServiceApi => self.apis.put(decode(key, stored)?),
            Kind::SecurityContext => {
                let held: Arc<Versioned<SecurityContext>> = decode(key, stored)?;
                self.contexts.insert(held.record.invoker_id.share(), held);
            }
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
        let id = &held.record.id;
        if let Some(credential) = held.record.credential() {
            self.asked.insert(credential.clone(), id.clone());
        }
        self.pending.insert(id.to_string(), held);
    }

    fn delete_pending(&mut self, id: &str) {
        if let Some(before) = self.pending.remove(id) {
            self.agenda.remove_pending(&before.record);
            if let Some(credential) = before.record.credential() {
                self.asked.remove(credential);
            }
        }
    }

    fn delete_function(&mut self, id: &str) {
        if let Some(before) = self.functions.remove(id) {
            let function = &before.record;
            self.agenda.remove_function(function);
            self.certificates
                .remove(&function.certificate, &function.renewal);
        }
    }

    /// Takes an invoker out of what is kept besides for looking it up.
    fn forget(&mut self, invoker: &Invoker) {
        self.agenda.remove_invoker(invoker);
        self.tally.remove(&invoker.reach);
        self.certificates
            .remove(&invoker.certificate, &invoker.renewal);
        if let Some(credential) = credential_of(invoker) {
            self.enrolled.remove(credential);
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
            Kind::ProviderFunction => self.delete_function(id),
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

/// Shares in memory what the texts of an entity have in common with those of others.
fn share(entity: &mut impl Renewable, frames: &mut Frames) {
    let Material {
        certificate,
        public_key_text,
        renewal,
        ..
    } = entity.material();
    certificate.pem.share(frames);
    public_key_text.share(frames);
    if let Some(next) = &mut renewal.successor {
        next.certificate.pem.share(frames);
        next.public_key_text.share(frames);
    }
    for old in &mut renewal.retiring {
        old.certificate.pem.share(frames);
    }
}

/// The mark of use of the credential by which an invoker can be given the answer to its onboarding again.
fn credential_of(invoker: &Invoker) -> Option<&Digest> {
    invoker.renewal.handover.as_ref()?.credential.as_ref()
}
