//! The API provider: its management function registers the domain, its publishing function publishes APIs, and its exposing
//! functions ask about invokers, hear events and log (TS 23.222 clause 6.2, TS 29.222 clauses 5.3, 5.4, 5.6, 5.8 and 5.11).
//!
//! Each function has a key and a certificate of its own, and each request goes out under the certificate of the function whose
//! business it is (TS 33.122 clause 6.6).

mod controlling;
mod exposing;
mod publishing;
mod registration;
mod state;

use capif_spec::common::{AefId, AmfId, ApfId, ApiProviderDomainId};
use capif_transport::{Anchors, Identity, SharedClock};
use http::Method;

pub use controlling::{Allowance, Limit};
pub use registration::ProviderRequest;
pub(crate) use state::refuse_shared_folder;

use crate::{
    address::Address,
    ccf::{Call, Ccf, encoded},
    enrolment::Bundle,
    error::Error,
    invoker::{self, Departure, departure},
    keystore::{Keystore, KeystoreError},
};

/// A registered API provider domain. It may be shared between tasks: every call takes `&self`.
pub struct Provider {
    keystore: Keystore,
    domain_id: ApiProviderDomainId,
    domain_name: String,
    hosts: Vec<String>,
    anchors: Anchors,
    amf: Function<AmfId>,
    apf: Function<ApfId>,
    /// At least one.
    aefs: Vec<Function<AefId>>,
}

/// A function of the domain.
struct Function<Id> {
    id: Id,
    name: String,
    identity: Identity,
    /// The CAPIF core function, reached under this function's certificate.
    ccf: Ccf,
}

impl Provider {
    /// Registers a domain, once. In a folder that is registered at this CAPIF core function already, it opens that registration
    /// and leaves the credential unused; after an attempt whose answer was lost, it repeats the very same request.
    ///
    /// # Errors
    /// Says what to do next: ask for a new bundle, try again, use another folder.
    pub async fn register(
        keystore: Keystore,
        bundle: &Bundle,
        request: ProviderRequest,
        clock: SharedClock,
    ) -> Result<Self, Error> {
        registration::register(keystore, bundle, request, clock).await
    }

    /// Opens the registration in a folder.
    ///
    /// # Errors
    /// Says so when no domain is registered there, or the registration was never answered.
    pub async fn open(keystore: Keystore, clock: SharedClock) -> Result<Self, Error> {
        match state::State::load(&keystore)? {
            Some(state::State::Registered(held)) => Self::assemble(keystore, *held, &clock),
            Some(state::State::Pending(_)) => Err(Error::NotEnrolled {
                who: "API provider",
                next: "the last attempt got no answer: register again with the same bundle",
            }),
            None => Err(Error::NotEnrolled {
                who: "API provider",
                next: "register with a bundle, which the operator gives out",
            }),
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
        self.aef().identity.clone()
    }

    /// The hosts that the certificates of the API exposing functions are good for: those of the registration, whatever was
    /// asked for when it was opened again.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// The roots of everything that the CAPIF core function certifies.
    #[must_use]
    pub fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// Host and port of the CAPIF core function.
    #[must_use]
    pub fn ccf_address(&self) -> &str {
        self.amf.ccf.address().as_str()
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
        let departure = departure(self.amf.ccf.send(call).await.map(drop))?;
        self.keystore.clone().erase()?;
        drop(keystore);
        tracing::info!(domain = %self.domain_id, ?departure, "deregistered");
        Ok(departure)
    }

    fn assemble(
        keystore: Keystore,
        held: state::Registered,
        clock: &SharedClock,
    ) -> Result<Self, Error> {
        let anchors = invoker::anchors(&held.anchors_pem)?;
        let address: Address = held.address.parse()?;
        let reach = |identity: &Identity| {
            let identity = Some(identity.clone());
            Ccf::new(address.clone(), anchors.clone(), identity, clock.clone())
        };
        let aefs = held
            .aefs
            .iter()
            .map(|function| Function::open(function, &keystore, reach))
            .collect::<Result<Vec<_>, _>>()?;
        if aefs.is_empty() {
            return Err(damaged(&keystore, "there is no API exposing function").into());
        }
        Ok(Self {
            amf: Function::open(&held.amf, &keystore, reach)?,
            apf: Function::open(&held.apf, &keystore, reach)?,
            aefs,
            domain_id: held.domain_id,
            domain_name: held.domain_name,
            hosts: held.hosts,
            anchors,
            keystore,
        })
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

impl<Id: From<String>> Function<Id> {
    fn open(
        held: &state::Certified,
        keystore: &Keystore,
        reach: impl FnOnce(&Identity) -> Result<Ccf, Error>,
    ) -> Result<Self, Error> {
        let key = keystore
            .key(&held.key)?
            .ok_or_else(|| damaged(keystore, "a private key is missing"))?;
        let identity = Identity::from_pem(&held.certificate_pem, key.pem()).map_err(|_| {
            damaged(
                keystore,
                "private key and certificate do not belong together",
            )
        })?;
        Ok(Self {
            id: Id::from(held.id.to_string()),
            name: held.name.clone(),
            ccf: reach(&identity)?,
            identity,
        })
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
