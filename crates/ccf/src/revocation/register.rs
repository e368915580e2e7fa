//! The standing of every certificate, by authority and serial number, fed by the store's commits before these are answered.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque, btree_map::Entry},
    sync::{Arc, PoisonError, RwLock},
};

use capif_procedures::{
    changes::{Key, Kind, Record},
    state::{
        Certificate, Invoker, ProviderFunction, Renewal, RevocationReason, RevokedCertificate,
    },
};
use capif_spec::common::DateTime;

use crate::store::{self, Committed, Fault, Observer, Store, Stored};

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

/// A certificate, by the number of its authority and its serial number in hexadecimal digits.
type Name = (u32, String);

/// The standing of every certificate.
#[derive(Debug, Default)]
pub(crate) struct Register(RwLock<Contents>);

#[derive(Debug, Default)]
struct Contents {
    revoked: BTreeMap<u32, Revocations>,
    held: HashSet<Name>,
    by_holder: HashMap<Key, Vec<Name>>,
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
    pub(crate) async fn load(store: &dyn Store) -> Result<Arc<Self>, Fault> {
        let mut contents = Contents::default();
        for revoked in store::load_all::<RevokedCertificate>(store, "").await? {
            contents.revoke(revoked.record);
        }
        for invoker in store::load_all::<Invoker>(store, "").await? {
            let invoker = invoker.record;
            let key = Key::new(Kind::Invoker, invoker.record_id());
            contents.hold(key, &invoker.certificate, &invoker.renewal);
        }
        for function in store::load_all::<ProviderFunction>(store, "").await? {
            let function = function.record;
            let key = Key::new(Kind::ProviderFunction, function.record_id());
            contents.hold(key, &function.certificate, &function.renewal);
        }
        let register = Arc::new(Self(RwLock::new(contents)));
        store.watch(Arc::clone(&register) as Arc<dyn Observer>);
        Ok(register)
    }

    /// Takes note of a certificate of the CCF itself, which is in no record.
    pub(super) fn note_own(&self, certificate: &Certificate) {
        let mut contents = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = name(certificate);
        if !contents.own.contains(&name) {
            contents.own.push_front(name);
            contents.own.truncate(OWN_MAX);
        }
    }

    /// What is known of a certificate.
    pub(super) fn standing(&self, authority: u32, serial: &str) -> Standing {
        let contents = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let revoked = contents
            .revoked
            .get(&authority)
            .and_then(|revoked| revoked.certificates.get(serial));
        if let Some(revoked) = revoked {
            return Standing::Revoked(revoked.clone());
        }
        let name = (authority, serial.to_owned());
        if contents.held.contains(&name) || contents.own.contains(&name) {
            Standing::Good
        } else {
            Standing::Unknown
        }
    }

    /// How often what is revoked of an authority has changed.
    pub(super) fn version(&self, authority: u32) -> u64 {
        let contents = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let revoked = contents.revoked.get(&authority);
        revoked.map_or(0, |revoked| revoked.version)
    }

    /// Everything that was revoked of an authority.
    pub(super) fn revocations(&self, authority: u32) -> Revocations {
        let contents = self.0.read().unwrap_or_else(PoisonError::into_inner);
        contents
            .revoked
            .get(&authority)
            .cloned()
            .unwrap_or_default()
    }
}

impl Contents {
    fn put(&mut self, key: &Key, stored: &Stored) -> Result<(), Fault> {
        match key.kind {
            Kind::RevokedCertificate => self.revoke(store::decode(key, stored)?.record),
            Kind::Invoker => {
                let invoker: Invoker = store::decode(key, stored)?.record;
                self.hold(key.clone(), &invoker.certificate, &invoker.renewal);
            }
            Kind::ProviderFunction => {
                let function: ProviderFunction = store::decode(key, stored)?.record;
                self.hold(key.clone(), &function.certificate, &function.renewal);
            }
            _ => {}
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key) {
        match key.kind {
            Kind::RevokedCertificate => {
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
            Kind::Invoker | Kind::ProviderFunction => self.release(key),
            _ => {}
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
        let (authority, serial) = name(certificate);
        let of_authority = self.revoked.entry(authority).or_default();
        if let Entry::Vacant(place) = of_authority.certificates.entry(serial) {
            of_authority.version += 1;
            place.insert(Revoked {
                at: since.clone(),
                reason: RevocationReason::KeyCompromise,
            });
        }
    }

    /// Somebody holds these certificates and no others.
    fn hold(&mut self, key: Key, certificate: &Certificate, renewal: &Renewal) {
        self.release(&key);
        let successor = renewal
            .successor
            .iter()
            .map(|successor| &successor.certificate);
        let retiring = renewal
            .retiring
            .iter()
            .map(|retiring| &retiring.certificate);
        if let Some(demand) = renewal.demand.as_ref().filter(|_| renewal.is_compromised()) {
            // A successor was handed over after that.
            for certificate in std::iter::once(certificate).chain(retiring.clone()) {
                self.give_up(certificate, &demand.since);
            }
        }
        let names: Vec<Name> = std::iter::once(certificate)
            .chain(successor)
            .chain(retiring)
            .map(name)
            .collect();
        self.held.extend(names.iter().cloned());
        self.by_holder.insert(key, names);
    }

    fn release(&mut self, key: &Key) {
        for name in self.by_holder.remove(key).unwrap_or_default() {
            self.held.remove(&name);
        }
    }
}

impl Observer for Register {
    fn committed(&self, committed: &Committed) {
        let mut contents = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for key in &committed.deletes {
            contents.delete(key);
        }
        for (key, stored) in &committed.puts {
            if let Err(error) = contents.put(key, stored) {
                tracing::error!(kind = ?key.kind, id = key.id, %error, "a record does not decode");
            }
        }
    }
}

fn name(certificate: &Certificate) -> Name {
    let serial = if certificate.serial.is_empty() {
        // An earlier version did not write it down.
        serial_of(&certificate.pem).unwrap_or_default()
    } else {
        plain(&certificate.serial)
    };
    (certificate.authority, serial)
}

fn serial_of(pem: &str) -> Option<String> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = block.parse_x509().ok()?;
    Some(in_digits(certificate.raw_serial()))
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
