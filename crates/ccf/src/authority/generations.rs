//! The authorities of this CCF, one generation after the other, as their records have them (R-T-04, D-24).
//!
//! What counts is in the store; private keys lie in files beside it. A commit that begins or ends a generation is heard of here
//! before it is answered, so that nothing is signed, shown or believed by what was before.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use arc_swap::ArcSwap;
use capif_procedures::{
    authority::Succession,
    changes::{Changes, Expect, Kind, Revision, Versioned},
    state::{Certificate, CertificateOrder, Demand, Digest, Generation, GenerationState},
};
use capif_spec::{common::DateTime, renewal::TrustList};
use capif_transport::{Anchors, Fingerprint, Identity};
use rcgen::PublicKeyData;
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::{
    Authority, AuthorityError, Terms,
    custody::{AuthorityKey, Custody},
    files,
    hook::{self, Hook, Wanted},
};
use crate::{
    audit::Act,
    random::sha256,
    store::{self, CommitError, Committed, Observer, Store},
};

/// All authorities of one CCF.
pub(crate) struct Authorities {
    pub(super) dir: PathBuf,
    pub(super) ccf_id: String,
    pub(super) custody: Custody,
    pub(super) lives: super::rollover::Lives,
    terms: Terms,
    succession: ArcSwap<Succession>,
    /// Those whose keys are at hand.
    at_work: RwLock<BTreeMap<u32, Arc<Authority>>>,
    /// Generations begin one after the other.
    pub(super) turn: tokio::sync::Mutex<()>,
    changed: Notify,
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorities").finish_non_exhaustive()
    }
}

/// What the CCF shows of itself.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// Certificate and key.
    pub(crate) identity: Identity,
    /// The same certificate, as a record has it.
    pub(crate) certificate: Certificate,
    /// What else counted when it was made out: whoever sees another one, makes out anew.
    pub(crate) surroundings: Surroundings,
}

/// What decides how the CCF presents itself, beside the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    current: Option<u32>,
    roots: Vec<String>,
    cross: Option<String>,
    distrusted: Vec<Digest>,
    /// The name of the key, where it stays the same.
    own_key: Option<String>,
}

impl Own {
    fn new(
        certificate: Certificate,
        key: &str,
        surroundings: Surroundings,
    ) -> Result<Self, AuthorityError> {
        let chain = format!("{}{}", certificate.pem, surroundings.roots.concat());
        let identity = Identity::from_pem(&chain, key.as_bytes())
            .map_err(|error| AuthorityError::Material(error.to_string()))?;
        Ok(Self {
            identity,
            certificate,
            surroundings,
        })
    }
}

impl Surroundings {
    /// Where somebody else signs.
    fn outside(hook: &Hook, own_key: Option<String>) -> Self {
        Self {
            current: None,
            roots: vec![hook.anchors_pem().to_owned()],
            cross: None,
            distrusted: Vec::new(),
            own_key,
        }
    }
}

impl Authorities {
    /// Loads the authorities, and follows the store from then on. A folder without records is of an earlier version, or new: what
    /// lies in it is the first generation.
    ///
    /// # Errors
    /// Says which file is missing or unusable.
    pub(crate) async fn load(
        dir: &Path,
        ccf_id: &str,
        custody: &Custody,
        lives: super::rollover::Lives,
        terms: Terms,
        store: &Arc<dyn Store>,
        now: &DateTime,
    ) -> Result<Arc<Self>, AuthorityError> {
        let generations = generations(dir, store.as_ref(), now).await?;
        let authorities = Self::at_hand(dir, ccf_id, custody, lives, terms, generations);
        store.watch(Arc::clone(&authorities) as Arc<dyn Observer>);
        authorities.take_all_up()?;
        Ok(authorities)
    }

    /// The authorities of a folder whose core function serves elsewhere: as they were last here, and nothing is written. Without
    /// a store, the first one.
    ///
    /// # Errors
    /// As [`Authorities::load`].
    pub(crate) async fn of_former(
        dir: &Path,
        ccf_id: &str,
        custody: &Custody,
        lives: super::rollover::Lives,
        terms: Terms,
        store: Option<&Arc<dyn Store>>,
    ) -> Result<Arc<Self>, AuthorityError> {
        let mut generations = match store {
            Some(store) => store::load_all::<Generation>(store.as_ref(), "").await?,
            None => Vec::new(),
        };
        if generations.is_empty() {
            generations.push(Versioned {
                record: of_folder(dir)?,
                revision: Revision::default(),
            });
        }
        let authorities = Self::at_hand(dir, ccf_id, custody, lives, terms, generations);
        authorities.take_all_up()?;
        Ok(authorities)
    }

    fn at_hand(
        dir: &Path,
        ccf_id: &str,
        custody: &Custody,
        lives: super::rollover::Lives,
        terms: Terms,
        generations: Vec<Versioned<Generation>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            dir: dir.to_owned(),
            ccf_id: ccf_id.to_owned(),
            custody: custody.clone(),
            lives,
            terms,
            succession: ArcSwap::from_pointee(Succession::new(generations)),
            at_work: RwLock::default(),
            turn: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        })
    }

    fn take_all_up(&self) -> Result<(), AuthorityError> {
        let succession = self.succession();
        for generation in succession.all() {
            let loaded = match &generation.state {
                // Somebody else signs: the keys that lie here are not needed, nor need they be here.
                _ if self.terms.hook.is_some() => Ok(()),
                GenerationState::Current => self.take_up(generation).map(drop),
                // It signs no certificates any more; what else it would sign, others can do without.
                GenerationState::Overlapping { .. } => {
                    if let Err(error) = self.take_up(generation) {
                        tracing::warn!(number = generation.number, %error, "the key of an older authority is not at hand");
                    }
                    Ok(())
                }
                GenerationState::Retired { .. } => Ok(()),
            };
            loaded?;
        }
        Ok(())
    }

    /// All generations as they are now.
    pub(crate) fn succession(&self) -> Arc<Succession> {
        self.succession.load_full()
    }

    /// The folder of the CCF.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// How its private keys are kept.
    pub(crate) fn custody(&self) -> &Custody {
        &self.custody
    }

    /// Waits until something about the generations has changed.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Signs what a procedure allowed, by the authority that is current. The key may lie elsewhere, and take its time.
    ///
    /// # Errors
    /// When the key cannot be certified or does not sign, or no randomness is to be had.
    pub(crate) async fn sign(
        self: &Arc<Self>,
        order: &CertificateOrder,
        now: OffsetDateTime,
    ) -> Result<Certificate, AuthorityError> {
        if let Some(hook) = &self.terms.hook {
            let wanted = Wanted::of(order, &self.terms, now);
            return Ok(hook.sign(&wanted, now).await?);
        }
        let (authorities, order) = (Arc::clone(self), order.clone());
        blocking(move || {
            let certificate = authorities.current()?.sign(&order, now)?;
            Ok(authorities.with_cross(certificate, now))
        })
        .await
    }

    /// Makes out a certificate for the CCF itself, for a key made here. All roots that count go along, so that who knows only the
    /// fingerprint of one can find it (TS 33.122 clause 6.1 step 1).
    ///
    /// # Errors
    /// As [`Authorities::sign`]; and when the result is unusable.
    pub(crate) async fn own(
        self: &Arc<Self>,
        hosts: &[String],
        now: OffsetDateTime,
    ) -> Result<Own, AuthorityError> {
        if let Some(hook) = &self.terms.hook {
            let (wanted, key) = Wanted::own(&self.ccf_id, hosts, &self.terms, now)?;
            let certificate = hook.sign(&wanted, now).await?;
            return Own::new(certificate, &key, self.surroundings(now));
        }
        let (authorities, hosts) = (Arc::clone(self), hosts.to_vec());
        blocking(move || {
            let surroundings = authorities.surroundings(now);
            let (certificate, key) =
                authorities
                    .current()?
                    .own(&authorities.ccf_id, &hosts, now)?;
            Own::new(authorities.with_cross(certificate, now), &key, surroundings)
        })
        .await
    }

    /// What decides now how the CCF presents itself.
    pub(crate) fn surroundings(&self, now: OffsetDateTime) -> Surroundings {
        let own_key = self.terms.own_key.as_ref().map(|key| key.kid());
        if let Some(hook) = &self.terms.hook {
            return Surroundings::outside(hook, own_key);
        }
        let now = DateTime(now);
        let succession = self.succession.load();
        Surroundings {
            current: succession.current().map(|generation| generation.number),
            roots: succession
                .roots(&now)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            cross: succession.cross(&now).map(str::to_owned),
            distrusted: succession.distrusted(&now),
            own_key,
        }
    }

    /// The root certificate of the authority that is current, as PEM: what goes into an enrolment code.
    pub(crate) fn root_pem(&self) -> String {
        if let Some(hook) = &self.terms.hook {
            return hook.anchors_pem().to_owned();
        }
        let succession = self.succession.load();
        let current = succession.current();
        current.map_or_else(String::new, |generation| generation.root.clone())
    }

    /// The trust anchors of everyone whom this CCF certifies, without the keys that count no longer.
    ///
    /// # Errors
    /// When a root certificate is unusable.
    pub(crate) fn anchors(&self, now: OffsetDateTime) -> Result<Anchors, AuthorityError> {
        let surroundings = self.surroundings(now);
        let distrusted = surroundings.distrusted.iter();
        Anchors::from_pems(&surroundings.roots)
            .map(|anchors| {
                anchors.distrusting(distrusted.map(|key| Fingerprint::from(key.octets())))
            })
            .map_err(|error| AuthorityError::Material(error.to_string()))
    }

    /// The same for others.
    pub(crate) fn trust(&self, now: &DateTime) -> TrustList {
        let surroundings = self.surroundings(now.0);
        TrustList {
            anchors: surroundings.roots,
            distrusted: surroundings
                .distrusted
                .iter()
                .map(Digest::to_string)
                .collect(),
            ..TrustList::default()
        }
    }

    /// Whether somebody else signs.
    pub(crate) fn is_outside(&self) -> bool {
        self.terms.hook.is_some()
    }

    /// Whether a certificate that is made out now could end later than this.
    pub(crate) fn outlasts(&self, end: &DateTime) -> bool {
        let succession = self.succession.load();
        let current = succession.current();
        self.is_outside() || current.is_some_and(|current| current.not_after > *end)
    }

    /// Whether certificates of the authority with this number count no longer.
    pub(crate) fn is_retired(&self, number: u32, now: &DateTime) -> bool {
        if self.terms.hook.is_some() {
            return number != hook::NUMBER;
        }
        self.succession.load().is_retired(number, now)
    }

    /// What follows from the succession for the holder of a certificate.
    pub(crate) fn demand(&self, certificate: &Certificate) -> Option<Demand> {
        if self.terms.hook.is_some() {
            return None;
        }
        self.succession.load().demand(certificate)
    }

    /// The authority with this number, if its key is at hand.
    pub(crate) fn at_work(&self, number: u32) -> Option<Arc<Authority>> {
        let at_work = self.at_work.read().unwrap_or_else(PoisonError::into_inner);
        at_work.get(&number).cloned()
    }

    /// Puts a generation to work whose key is in its file.
    pub(super) fn take_up(&self, generation: &Generation) -> Result<(), AuthorityError> {
        let file = files::issuing_key(generation.number);
        let key = self.custody.load(&self.dir, &file)?;
        self.put_to_work(generation, key)
    }

    /// Puts a generation to work. Nobody asks for it before it is current.
    pub(super) fn put_to_work(
        &self,
        generation: &Generation,
        key: AuthorityKey,
    ) -> Result<(), AuthorityError> {
        let authority = Authority::new(generation, key, self.terms.clone())?;
        let mut at_work = self.at_work.write().unwrap_or_else(PoisonError::into_inner);
        at_work.insert(generation.number, Arc::new(authority));
        Ok(())
    }

    fn current(&self) -> Result<Arc<Authority>, AuthorityError> {
        let number = self
            .succession
            .load()
            .current()
            .map(|current| current.number);
        number
            .and_then(|number| self.at_work(number))
            .ok_or_else(|| AuthorityError::Material("no authority can sign".to_owned()))
    }

    /// The chain of a certificate for everyone, those included who know only the root before.
    fn with_cross(&self, mut certificate: Certificate, now: OffsetDateTime) -> Certificate {
        if let Some(cross) = self.succession.load().cross(&DateTime(now)) {
            certificate.pem = format!("{}{cross}", certificate.pem).into();
        }
        certificate
    }
}

impl Observer for Authorities {
    fn committed(&self, committed: &Committed) {
        let mut next = None;
        for (key, stored) in &committed.puts {
            if key.kind != Kind::Authority {
                continue;
            }
            match store::decode::<Generation>(key, stored) {
                Ok(generation) => {
                    let succession = next.take().unwrap_or_else(|| self.succession());
                    next = Some(Arc::new(succession.with(generation)));
                }
                Err(error) => {
                    tracing::error!(id = key.id, %error, "the record of an authority does not decode");
                }
            }
        }
        if let Some(next) = next {
            self.succession.store(next);
            self.changed.notify_one();
        }
    }
}

/// Work that may wait for a key.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AuthorityError> + Send + 'static,
) -> Result<T, AuthorityError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(AuthorityError::Material(
            "signing was broken off".to_owned(),
        )),
    }
}

/// The generations of the store. As long as there was no roll-over, what lies in the folder counts, so that an operator who has
/// the certificates made elsewhere can replace them.
async fn generations(
    dir: &Path,
    store: &dyn Store,
    now: &DateTime,
) -> Result<Vec<Versioned<Generation>>, AuthorityError> {
    let held = store::load_all::<Generation>(store, "").await?;
    let (expect, known) = match held.as_slice() {
        [] => (Expect::Absent, None),
        [only] if only.record.number == 1 => (Expect::At(only.revision), Some(&only.record)),
        _ => return Ok(held),
    };
    let first = of_folder(dir)?;
    if known == Some(&first) {
        return Ok(held);
    }
    let mut changes = Changes::new();
    changes.put(&first, expect);
    Act::by_task("AdoptAuthority", first.number.to_string()).record(&mut changes, now.clone());
    match store.commit(changes).await {
        Ok(_) => Ok(store::load_all::<Generation>(store, "").await?),
        Err(CommitError::Fault(fault)) => Err(fault.into()),
        Err(CommitError::Conflict(_)) => Err(AuthorityError::Material(
            "the records of the authorities are changed by another process".to_owned(),
        )),
    }
}

/// The first generation, as it lies in the folder.
fn of_folder(dir: &Path) -> Result<Generation, AuthorityError> {
    let read = |file: &str| {
        std::fs::read_to_string(dir.join(file)).map_err(|source| AuthorityError::File {
            file: dir.join(file).display().to_string(),
            source,
        })
    };
    let (root, issuing) = (read(files::ROOT)?, read(files::ISSUING)?);
    let of_root = Facts::of(files::ROOT, &root)?;
    let of_issuing = Facts::of(files::ISSUING, &issuing)?;
    Ok(Generation {
        number: 1,
        root,
        root_key: of_root.key,
        root_number: 1,
        cross: None,
        issuing,
        issuing_key: of_issuing.key,
        not_after: of_issuing.not_after,
        root_not_after: of_root.not_after,
        created: of_issuing.not_before,
        state: GenerationState::Current,
    })
}

/// What is to be known of the certificate of an authority.
pub(super) struct Facts {
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub(super) key: Digest,
    pub(super) not_before: DateTime,
    pub(super) not_after: DateTime,
}

impl Facts {
    pub(super) fn of(name: &str, pem: &str) -> Result<Self, AuthorityError> {
        let unusable = |error: &dyn std::fmt::Display| {
            AuthorityError::Material(format!("{name} holds no certificate: {error}"))
        };
        let (_, block) =
            x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|error| unusable(&error))?;
        let certificate = block.parse_x509().map_err(|error| unusable(&error))?;
        let validity = certificate.validity();
        Ok(Self {
            key: sha256(certificate.public_key().raw),
            not_before: DateTime(validity.not_before.to_datetime()),
            not_after: DateTime(validity.not_after.to_datetime()),
        })
    }
}

/// The SHA-256 of the first certificate of a text, in hexadecimal digits.
pub(crate) fn fingerprint(pem: &str) -> Option<String> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    Some(sha256(&block.contents).to_string())
}

/// The SHA-256 of the SubjectPublicKeyInfo of a key.
pub(super) fn digest_of(key: &AuthorityKey) -> Digest {
    sha256(&key.subject_public_key_info())
}

#[cfg(test)]
mod tests;
