//! The standing of every certificate, by authority and serial number, fed by the store's commits before these are answered. Which
//! certificates somebody holds it reads off the view, which hears of each commit before it.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use capif_procedures::{
    changes::{Key, Kind},
    state::{Certificate, Renewal, RevocationReason, RevokedCertificate},
};
use capif_spec::common::DateTime;

use crate::{
    store::{self, Committed, Fault, Observer, Store, Stored},
    view::{Name, Records, View, serial_of},
};

/// How many certificates of the CCF itself are remembered; it uses one at a time.
const OWN_MAX: usize = 16;

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Somebody holds it, and it counts.
    Good,
    /// It was revoked.
    Revoked(Revoked),
    /// It was never issued, or its end has come.
    Unknown,
}

/// When and why a certificate was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revoked {
    pub(super) at: DateTime,
    pub(super) reason: RevocationReason,
}

/// The standing of every certificate.
#[derive(Debug)]
pub(crate) struct Register {
    contents: RwLock<Contents>,
    view: Arc<View>,
}

#[derive(Debug, Default)]
struct Contents {
    revoked: BTreeMap<u32, Revocations>,
    own: VecDeque<Name>,
}

/// What was revoked of one authority.
#[derive(Clone, Debug, Default)]
pub(super) struct Revocations {
    pub(super) certificates: BTreeMap<String, Revoked>,
    /// Grows with every change.
    pub(super) version: u64,
}

impl Register {
    /// Loads the register and keeps it current from then on. To be called before anyone else writes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn load(store: &dyn Store, view: Arc<View>) -> Result<Arc<Self>, Fault> {
        let mut contents = Contents::default();
        for revoked in store::load_all::<RevokedCertificate>(store, "").await? {
            contents.revoke(revoked.record);
        }
        {
            let records = view.read();
            for invoker in records.invokers() {
                contents.note(&invoker.certificate, &invoker.renewal);
            }
            for function in records.functions() {
                contents.note(&function.certificate, &function.renewal);
            }
        }
        let register = Arc::new(Self {
            contents: RwLock::new(contents),
            view,
        });
        store.watch(Arc::clone(&register) as Arc<dyn Observer>);
        Ok(register)
    }

    /// Takes note of a certificate of the CCF itself, which is in no record.
    pub(super) fn note_own(&self, certificate: &Certificate) {
        let Some(name) = Name::of(certificate) else {
            return;
        };
        let mut contents = self.write();
        if !contents.own.contains(&name) {
            contents.own.push_front(name);
            contents.own.truncate(OWN_MAX);
        }
    }

    /// What is known of a certificate.
    pub(super) fn standing(&self, authority: u32, serial: &str) -> Standing {
        let Some(name) = Name::new(authority, serial) else {
            return Standing::Unknown;
        };
        let is_own = {
            let contents = self.read();
            let revoked = contents
                .revoked
                .get(&authority)
                .and_then(|revoked| revoked.certificates.get(serial));
            if let Some(revoked) = revoked {
                return Standing::Revoked(revoked.clone());
            }
            contents.own.contains(&name)
        };
        if is_own || self.view.read().is_held(&name) {
            Standing::Good
        } else {
            Standing::Unknown
        }
    }

    /// How often what is revoked of an authority has changed.
    pub(super) fn version(&self, authority: u32) -> u64 {
        let contents = self.read();
        let revoked = contents.revoked.get(&authority);
        revoked.map_or(0, |revoked| revoked.version)
    }

    /// Everything that was revoked of an authority.
    pub(super) fn revocations(&self, authority: u32) -> Revocations {
        let contents = self.read();
        contents
            .revoked
            .get(&authority)
            .cloned()
            .unwrap_or_default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn put(&mut self, key: &Key, stored: &Stored, records: &Records) -> Result<(), Fault> {
        match key.kind {
            Kind::RevokedCertificate => self.revoke(store::decode(key, stored)?.record),
            Kind::Invoker => {
                if let Some(held) = records.invoker(&key.id) {
                    self.note(&held.record.certificate, &held.record.renewal);
                }
            }
            Kind::ProviderFunction => {
                if let Some(held) = records.function(&key.id) {
                    self.note(&held.record.certificate, &held.record.renewal);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key) {
        if key.kind != Kind::RevokedCertificate {
            return;
        }
        let Some((authority, serial)) = key.id.split_once('/') else {
            return;
        };
        let authority = authority.parse().unwrap_or_default();
        if let Some(revoked) = self.revoked.get_mut(&authority)
            && revoked.certificates.remove(serial).is_some()
        {
            revoked.version += 1;
        }
    }

    fn revoke(&mut self, revoked: RevokedCertificate) {
        let of_authority = self.revoked.entry(revoked.authority).or_default();
        of_authority.version += 1;
        of_authority.certificates.insert(
            plain(&revoked.serial),
            Revoked {
                at: revoked.revoked,
                reason: revoked.reason,
            },
        );
    }

    /// A certificate may be in other hands: nobody else is to believe it while its holder renews, which ends with its record.
    fn give_up(&mut self, certificate: &Certificate, since: &DateTime) {
        let serial = plain(&serial_of(certificate));
        let of_authority = self.revoked.entry(certificate.authority).or_default();
        if let Entry::Vacant(place) = of_authority.certificates.entry(serial) {
            of_authority.version += 1;
            place.insert(Revoked {
                at: since.clone(),
                reason: RevocationReason::KeyCompromise,
            });
        }
    }

    /// Gives up what an entity holds, if that was compromised.
    fn note(&mut self, certificate: &Certificate, renewal: &Renewal) {
        if let Some(demand) = renewal.demand.as_ref().filter(|_| renewal.is_compromised()) {
            let retiring = renewal.retiring.iter().map(|old| &old.certificate);
            // A successor was handed over after that.
            for certificate in std::iter::once(certificate).chain(retiring) {
                self.give_up(certificate, &demand.since);
            }
        }
    }
}

impl Observer for Register {
    fn committed(&self, committed: &Committed) {
        let records = self.view.read();
        let mut contents = self.write();
        for key in &committed.deletes {
            contents.delete(key);
        }
        for (key, stored) in &committed.puts {
            if let Err(error) = contents.put(key, stored, &records) {
                tracing::error!(kind = ?key.kind, id = key.id, %error, "a record does not decode");
            }
        }
    }
}

/// A serial number in hexadecimal digits, without the octet that keeps a number positive.
pub(super) fn in_digits(octets: &[u8]) -> String {
    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    plain(&digits)
}

fn plain(digits: &str) -> String {
    let mut rest = digits;
    while rest.len() > 2
        && let Some(shorter) = rest.strip_prefix("00")
    {
        rest = shorter;
    }
    rest.to_ascii_lowercase()
}
