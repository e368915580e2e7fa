//! The API invoker: it enrols, finds APIs, agrees on how to call them, calls them, and leaves.

mod aefs;
mod agreement;
mod call;
mod offboarding;
mod onboarding;
mod psk;
mod recovery;
mod security;
mod settlement;
mod state;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use capif_spec::{
    api_invoker_management::ApiInvokerEnrolmentDetails,
    common::{ApiInvokerId, Redacted},
    publish_service::ServiceApiDescription,
    security::{AccessTokenRsp, Scope},
};
use capif_transport::{Identity, SharedClock};

pub use agreement::{AgreedKey, Agreement};
pub use offboarding::Departure;
pub(crate) use offboarding::departure;
pub use onboarding::OnboardingRequest;
pub(crate) use onboarding::anchors;
pub use security::Wish;
pub(crate) use state::NAME;

use self::{
    aefs::Aefs,
    agreement::Held,
    recovery::{Recoveries, Renewals},
};
use crate::{
    address::Address,
    ccf::Ccf,
    discovery::{self, DiscoveryQuery},
    enrolment::Enrolment,
    error::Error,
    keystore::{Keystore, KeystoreError},
    token::Tokens,
};

/// How many APIs' descriptions are kept at hand.
const KNOWN_APIS_MAX: usize = 1024;

/// An onboarded API invoker. It may be shared between tasks: every call takes `&self`.
pub struct Invoker {
    keystore: Keystore,
    clock: SharedClock,
    id: ApiInvokerId,
    onboarding_id: String,
    details: ApiInvokerEnrolmentDetails,
    secret: Option<Redacted>,
    /// Over CAPIF-1/1e, with our certificate.
    ccf: Ccf,
    /// The same for negotiations, each over a session of its own.
    negotiator: Ccf,
    negotiator_tls12: Ccf,
    /// Over CAPIF-2/2e.
    aefs: Aefs,
    held: RwLock<Arc<Held>>,
    negotiation: tokio::sync::Mutex<()>,
    recoveries: Recoveries,
    renewals: Renewals,
    tokens: Tokens,
    known_apis: Mutex<HashMap<String, Arc<[ServiceApiDescription]>>>,
}

impl Invoker {
    /// Enrols an invoker, once. In a folder that is enrolled at this CAPIF core function already, it opens that enrolment and
    /// leaves the credential unused; after an attempt whose answer was lost, it repeats the very same request.
    ///
    /// # Errors
    /// Says what to do next: ask for a new code, wait for approval, try again.
    pub async fn onboard(
        keystore: Keystore,
        enrolment: &Enrolment,
        request: OnboardingRequest,
        clock: SharedClock,
    ) -> Result<Self, Error> {
        onboarding::onboard(keystore, enrolment, request, clock).await
    }

    /// Opens the enrolment in a folder.
    ///
    /// # Errors
    /// Says so when nobody has enrolled there, or the enrolment was never answered.
    pub async fn open(keystore: Keystore, clock: SharedClock) -> Result<Self, Error> {
        match state::State::load(&keystore)? {
            Some(state::State::Onboarded(held)) => Self::assemble(keystore, *held, clock),
            Some(state::State::Pending(_)) => Err(Error::NotEnrolled {
                who: "API invoker",
                next: "the last attempt got no answer: onboard again with the same code",
            }),
            None => Err(Error::NotEnrolled {
                who: "API invoker",
                next: "onboard with an enrolment code, which the API provider gives out",
            }),
        }
    }

    /// The id that the CAPIF core function assigned.
    #[must_use]
    pub fn id(&self) -> &ApiInvokerId {
        &self.id
    }

    /// What the CAPIF core function answered to the onboarding, without the Onboard_Secret.
    #[must_use]
    pub fn details(&self) -> &ApiInvokerEnrolmentDetails {
        &self.details
    }

    /// The APIs that match and that this invoker may see.
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn discover(
        &self,
        query: &DiscoveryQuery,
    ) -> Result<Vec<ServiceApiDescription>, Error> {
        discovery::discover(&self.ccf, &self.id, query).await
    }

    /// An access token for this scope, at least 30 seconds before its end. The Onboard_Secret goes to the CAPIF core
    /// function's token endpoint over mutual TLS and nowhere else (TS 33.122 annex C.3).
    ///
    /// # Errors
    /// [`Error::TokenRefused`] carries what the token endpoint says.
    pub async fn token(&self, scope: &Scope) -> Result<AccessTokenRsp, Error> {
        self.tokens
            .get(
                scope,
                &self.ccf,
                &self.id,
                self.secret.as_ref(),
                &self.clock,
            )
            .await
    }

    fn assemble(
        keystore: Keystore,
        held: state::Onboarded,
        clock: SharedClock,
    ) -> Result<Self, Error> {
        let damaged = |reason: &str| KeystoreError::Damaged {
            path: keystore.folder().to_owned(),
            reason: reason.to_owned(),
        };
        let id = held
            .details
            .api_invoker_id
            .clone()
            .ok_or_else(|| damaged("the API invoker id is missing"))?;
        let key = keystore
            .key(NAME)?
            .ok_or_else(|| damaged("the private key is missing"))?;
        let certificate = &held.details.onboarding_information.api_invoker_certificate;
        let identity = Identity::from_pem(certificate.as_deref().unwrap_or_default(), key.pem())
            .map_err(|_| damaged("private key and certificate do not belong together"))?;
        let anchors = anchors(&held.anchors_pem)?;
        let address: Address = held.address.parse()?;
        let ccf = Ccf::new(
            address.clone(),
            anchors.clone(),
            Some(identity.clone()),
            clock.clone(),
        )?;
        let negotiator = |tls12_only| {
            Ccf::negotiating(
                address.clone(),
                anchors.clone(),
                identity.clone(),
                clock.clone(),
                tls12_only,
            )
        };
        let agreed = Held::kept(&held, &Held::default());
        Ok(Self {
            negotiator: negotiator(false)?,
            negotiator_tls12: negotiator(true)?,
            aefs: Aefs {
                anchors,
                identity,
                clock: clock.clone(),
                clients: Mutex::default(),
            },
            ccf,
            id,
            onboarding_id: held.onboarding_id,
            details: held.details,
            secret: held.onboarding_secret,
            held: RwLock::new(Arc::new(agreed)),
            negotiation: tokio::sync::Mutex::new(()),
            recoveries: Recoveries::default(),
            renewals: Renewals::default(),
            tokens: Tokens::default(),
            known_apis: Mutex::default(),
            keystore,
            clock,
        })
    }

    /// The descriptions of an API, from memory or by discovery.
    async fn apis_named(&self, name: &str) -> Result<Arc<[ServiceApiDescription]>, Error> {
        if let Some(apis) = self.known_apis().get(name) {
            return Ok(apis.clone());
        }
        let found = self.discover(&DiscoveryQuery::named(name)).await?;
        let found: Arc<[ServiceApiDescription]> = found.into();
        let mut known = self.known_apis();
        if known.len() >= KNOWN_APIS_MAX {
            known.clear();
        }
        known.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    /// Makes the next call discover the API anew.
    fn forget_api(&self, name: &str) {
        self.known_apis().remove(name);
    }

    fn known_apis(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<String, Arc<[ServiceApiDescription]>>> {
        self.known_apis
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Invoker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invoker")
            .field("id", &self.id)
            .field("ccf", self.ccf.address())
            .finish_non_exhaustive()
    }
}
