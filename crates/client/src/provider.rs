//! The API provider: its management function registers the domain, its publishing function publishes APIs, and its exposing
//! functions ask about invokers, hear events and log (TS 23.222 clause 6.2, TS 29.222 clauses 5.3, 5.4, 5.6, 5.8 and 5.11).
//!
//! Each function has a key and a certificate of its own, and each request goes out under the certificate of the function whose
//! business it is (TS 33.122 clause 6.6).

mod controlling;
mod exposing;
mod function;
mod publishing;
mod registration;
mod renewal;
mod reuse;
mod standing;
mod state;
mod trust;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use capif_spec::common::{AefId, AmfId, ApfId, ApiProviderDomainId};
use capif_transport::{Anchors, Identity, SharedClock};
use http::Method;

pub use controlling::{Allowance, Limit};
pub use registration::ProviderRequest;
pub use renewal::Renewed;
pub use standing::Standing;
pub(crate) use state::refuse_shared_folder;

use self::function::{Function, Means, Reach};
use crate::{
    address::Address,
    ccf::{Answer, Call, encoded},
    enrolment::Bundle,
    error::Error,
    invoker::{Departure, departure},
    keystore::{Keystore, KeystoreError, Version},
    whereabouts::Whereabouts,
};

/// A registered API provider domain. It may be shared between tasks: every call takes `&self`.
///
/// Certificates and roots are exchanged while it is in use: see [`Provider::renew`], [`Provider::reload`] and
/// [`Provider::believe`]. A request that is under way keeps those that it began with.
pub struct Provider {
    keystore: Keystore,
    clock: SharedClock,
    whereabouts: Whereabouts,
    domain_id: ApiProviderDomainId,
    domain_name: String,
    hosts: Vec<String>,
    anchors: ArcSwap<Anchors>,
    amf: Function<AmfId>,
    apf: Function<ApfId>,
    /// At least one.
    aefs: Vec<Function<AefId>>,
    held: Mutex<Held>,
}

/// What is in use of the state in the folder.
struct Held {
    version: Option<Version>,
    /// Private keys wait for being erased until the certificates in their place have been used.
    unused: bool,
    /// A renewal was begun of which no answer is known.
    renewing: bool,
}

impl Held {
    fn of(held: &state::Registered, version: Option<Version>) -> Self {
        Self {
            version,
            unused: !held.replaced.is_empty(),
            renewing: held.renewal.is_some(),
        }
    }
}

/// What a provider is to go on with.
struct Next {
    amf: Option<Means>,
    apf: Option<Means>,
    aefs: Vec<Option<Means>>,
    anchors: Anchors,
}

impl Provider {
    /// Registers a domain, once (TS 29.222 clause 5.11.2.2). In a folder that is registered at this CAPIF core function already, it opens that registration
    /// and leaves the credential unused, unless the certificates there have ended: then it registers again
    /// ([`Provider::register_again`]). After an attempt whose answer was lost, it repeats the very same request.
    ///
    /// # Errors
    /// Says what to do next: ask for a new bundle, try again, use another folder.
    pub async fn register(
        keystore: Keystore,
        bundle: &Bundle,
        request: ProviderRequest,
        clock: SharedClock,
    ) -> Result<Self, Error> {
        let provider = registration::register(keystore, bundle, request, clock).await?;
        if provider.has_ended() {
            provider.register_again(bundle).await?;
        }
        Ok(provider)
    }

    /// Opens the registration in a folder.
    ///
    /// # Errors
    /// Says so when no domain is registered there, or the registration was never answered.
    pub async fn open(keystore: Keystore, clock: SharedClock) -> Result<Self, Error> {
        let (held, version) = state::registered(&keystore)?;
        match Self::assemble(keystore.clone(), held, version, &clock) {
            // Another process may have renewed in between, and erased the keys of before.
            Err(Error::Keystore(KeystoreError::Damaged { .. }))
                if keystore.version(state::NAME)? != version =>
            {
                let (held, version) = state::registered(&keystore)?;
                Self::assemble(keystore, held, version, &clock)
            }
            result => result,
        }
    }

    /// The id of the domain.
    #[must_use]
    pub fn domain_id(&self) -> &ApiProviderDomainId {
        &self.domain_id
    }

    /// The name under which the operator invited the domain.
    #[must_use]
    pub fn domain_name(&self) -> &str {
        &self.domain_name
    }

    /// The id of the API management function.
    #[must_use]
    pub fn amf_id(&self) -> &AmfId {
        &self.amf.id
    }

    /// The id of the API publishing function.
    #[must_use]
    pub fn apf_id(&self) -> &ApfId {
        &self.apf.id
    }

    /// The id of the first API exposing function.
    #[must_use]
    pub fn aef_id(&self) -> &AefId {
        &self.aef().id
    }

    /// The ids of all API exposing functions with the names that were asked for.
    pub fn aefs(&self) -> impl Iterator<Item = (&AefId, &str)> {
        self.aefs
            .iter()
            .map(|function| (&function.id, function.name.as_str()))
    }

    /// Key and certificate of the first API exposing function, for its listener on CAPIF-2/2e.
    #[must_use]
    pub fn aef_identity(&self) -> Identity {
        self.aef().means().identity.clone()
    }

    /// The hosts that the certificates of the API exposing functions are good for: those of the registration, whatever was
    /// asked for when it was opened again.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The roots of everything that the CAPIF core function certifies, as it named them last.
    #[must_use]
    pub fn anchors(&self) -> Anchors {
        Anchors::clone(&self.anchors.load())
    }

    /// Host and port of the CAPIF core function.
    #[must_use]
    pub fn ccf_address(&self) -> String {
        self.whereabouts.now().to_string()
    }

    /// Cancels the registration, with all that was published, then erases keys and certificates (TS 29.222 clause 5.11.2.5).
    ///
    /// # Errors
    /// As long as the CAPIF core function has not answered, nothing is erased: try again.
    pub async fn deregister(self) -> Result<Departure, Error> {
        let keystore = match self.keystore.lock().await {
            // Erased by another process, which has had the answer.
            Err(KeystoreError::Gone(_)) => return Ok(Departure::KnownNoMore),
            result => result?,
        };
        let path = format!(
            "/api-provider-management/v1/registrations/{}",
            encoded(self.domain_id.as_str())
        );
        let call = Call::new("the deregistration", Method::DELETE, path);
        let departure = departure(self.amf.send(call).await.map(drop))?;
        self.keystore.clone().erase()?;
        drop(keystore);
        tracing::info!(domain = %self.domain_id, ?departure, "deregistered");
        Ok(departure)
    }

    /// Takes over what another process of this folder has renewed or learnt. Says whether certificates are other ones.
    ///
    /// # Errors
    /// When the folder cannot be read, or another domain was registered in it meanwhile; all is then as it was.
    pub fn reload(&self) -> Result<bool, Error> {
        let version = self.keystore.version(state::NAME)?;
        if version == self.held().version {
            return Ok(false);
        }
        let (held, version) = state::registered(&self.keystore)?;
        let next = self.prepare(&held)?;
        Ok(self.go_on(next, &held, version))
    }

    fn assemble(
        keystore: Keystore,
        held: state::Registered,
        version: Option<Version>,
        clock: &SharedClock,
    ) -> Result<Self, Error> {
        let whereabouts = Whereabouts::from(held.address.parse::<Address>()?);
        let reach = Reach::new(&held, &whereabouts, clock)?;
        let aefs = held
            .aefs
            .iter()
            .map(|function| Function::open(function, &keystore, &reach))
            .collect::<Result<Vec<_>, _>>()?;
        if aefs.is_empty() {
            return Err(damaged(&keystore, "there is no API exposing function").into());
        }
        Ok(Self {
            amf: Function::open(&held.amf, &keystore, &reach)?,
            apf: Function::open(&held.apf, &keystore, &reach)?,
            aefs,
            anchors: ArcSwap::from_pointee(reach.anchors),
            held: Mutex::new(Held::of(&held, version)),
            whereabouts,
            domain_id: held.domain_id,
            domain_name: held.domain_name,
            hosts: held.hosts,
            clock: clock.clone(),
            keystore,
        })
    }

    /// Makes ready to go on with this state: all of it, or nothing if any of it cannot be used.
    fn prepare(&self, held: &state::Registered) -> Result<Next, Error> {
        if held.domain_id != self.domain_id || held.aefs.len() != self.aefs.len() {
            return Err(damaged(&self.keystore, "another domain was registered in it").into());
        }
        let reach = Reach::new(held, &self.whereabouts, &self.clock)?;
        let all_new = !crate::trust::are_same(&self.anchors.load(), &reach.anchors);
        let aefs = self.aefs.iter().zip(&held.aefs);
        let aefs =
            aefs.map(|(function, held)| function.prepare(held, &self.keystore, &reach, all_new));
        Ok(Next {
            amf: self
                .amf
                .prepare(&held.amf, &self.keystore, &reach, all_new)?,
            apf: self
                .apf
                .prepare(&held.apf, &self.keystore, &reach, all_new)?,
            aefs: aefs.collect::<Result<_, _>>()?,
            anchors: reach.anchors,
        })
    }

    /// Goes on with a state that was made ready. Says whether certificates are other ones.
    fn go_on(&self, next: Next, held: &state::Registered, version: Option<Version>) -> bool {
        let mut others = self.amf.go_on(next.amf);
        others |= self.apf.go_on(next.apf);
        for (function, means) in self.aefs.iter().zip(next.aefs) {
            others |= function.go_on(means);
        }
        self.anchors.store(next.anchors.into());
        if let Ok(address) = held.address.parse() {
            self.whereabouts.follow(&address);
        }
        *self.held() = Held::of(held, version);
        others
    }

    /// Sends a request of one of the functions. A core function that has moved for good is remembered.
    async fn ask<Id>(&self, function: &Function<Id>, call: Call<'_>) -> Result<Answer, Error> {
        let answer = function.send(call).await;
        self.note_move().await;
        answer
    }

    /// Puts into the folder where the core function is for good, if that was heard. Where it cannot be put there, it is heard
    /// again.
    async fn note_move(&self) {
        let Some(address) = self.whereabouts.news() else {
            return;
        };
        let note = async {
            let keystore = self.keystore.lock().await?;
            let (mut held, _) = state::registered(&keystore)?;
            held.move_to(&address);
            self.keep(&keystore, &held)
        };
        if let Err(error) = note.await {
            tracing::warn!(%address, %error, "the new address of the core function was not kept");
        }
    }

    /// Every function's id with its certificate as it is now: AMF, APF, then the AEFs.
    fn functions(&self) -> Vec<(&str, Arc<Means>)> {
        let first = [
            (self.amf.id.as_str(), self.amf.means()),
            (self.apf.id.as_str(), self.apf.means()),
        ];
        let aefs = self.aefs.iter();
        let aefs = aefs.map(|function| (function.id.as_str(), function.means()));
        first.into_iter().chain(aefs).collect()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn aef(&self) -> &Function<AefId> {
        // Holds because a provider without API exposing function is not assembled.
        #[expect(
            clippy::indexing_slicing,
            reason = "checked when the provider is assembled"
        )]
        &self.aefs[0]
    }
}

fn damaged(keystore: &Keystore, reason: &str) -> KeystoreError {
    KeystoreError::Damaged {
        path: keystore.folder().to_owned(),
        reason: reason.to_owned(),
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("domain_id", &self.domain_id)
            .field("domain_name", &self.domain_name)
            .finish_non_exhaustive()
    }
}
