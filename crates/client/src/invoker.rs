//! The API invoker: it enrols, finds APIs, agrees on how to call them, calls them, and leaves.

mod aefs;
mod agreement;
mod call;
mod offboarding;
mod onboarding;
mod outlook;
mod psk;
mod recovery;
mod renewal;
mod security;
mod settlement;
mod standing;
mod state;
mod trust;
mod upkeep;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use arc_swap::ArcSwap;
use capif_spec::{
    api_invoker_management::ApiInvokerEnrolmentDetails,
    common::ApiInvokerId,
    publish_service::ServiceApiDescription,
    security::{AccessTokenRsp, Scope},
};
use capif_transport::SharedClock;

pub use agreement::{AgreedKey, Agreement};
pub use offboarding::Departure;
pub(crate) use offboarding::departure;
pub use onboarding::OnboardingRequest;
pub(crate) use onboarding::anchors;
pub use outlook::RenewalStatus;
pub use renewal::{Renewal, RenewalOptions};
pub use security::Wish;
pub(crate) use state::NAME;

use self::{
    agreement::Held,
    recovery::{KeyRenewals, Recoveries},
    standing::Standing,
    upkeep::Upkeep,
};
use crate::{
    discovery::{self, DiscoveryQuery},
    enrolment::Enrolment,
    error::Error,
    keystore::{Keystore, KeystoreError},
};

/// How many APIs' descriptions are kept at hand.
const KNOWN_APIS_MAX: usize = 1024;

/// An onboarded API invoker. It may be shared between tasks: every call takes `&self`.
///
/// It renews certificate and Onboard_Secret by itself when it is time, beside the calls; see [`Invoker::upkeep`].
pub struct Invoker {
    shared: Arc<Shared>,
}

/// What the tasks of an invoker share.
struct Shared {
    keystore: Keystore,
    clock: SharedClock,
    id: ApiInvokerId,
    onboarding_id: String,
    standing: ArcSwap<Standing>,
    /// Locked after `negotiation`, if both are.
    renewing: tokio::sync::Mutex<()>,
    upkeep: Upkeep,
    held: RwLock<Arc<Held>>,
    negotiation: tokio::sync::Mutex<()>,
    recoveries: Recoveries,
    key_renewals: KeyRenewals,
    known_apis: Mutex<HashMap<String, Arc<[ServiceApiDescription]>>>,
}

impl Invoker {
    /// Enrols an invoker, once (TS 29.222 clause 5.5.2.2, TS 33.122 clause 6.1). In a folder that is enrolled at this CAPIF core
    /// function already, it opens that enrolment and leaves the credential unused; after an attempt whose answer was lost, it
    /// repeats the very same request.
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
            Some(state::State::Onboarded(_)) => Self::assemble(keystore, clock),
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
        &self.shared.id
    }

    /// Host and port of the CAPIF core function.
    #[must_use]
    pub fn ccf_address(&self) -> String {
        self.standing().ccf.address().to_string()
    }

    /// What the CAPIF core function answered to the onboarding, or to the last renewal, without the Onboard_Secret.
    #[must_use]
    pub fn details(&self) -> Arc<ApiInvokerEnrolmentDetails> {
        Arc::clone(&self.standing().details)
    }

    /// The APIs that match and that this invoker may see (TS 29.222 clause 5.2.2.2).
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn discover(
        &self,
        query: &DiscoveryQuery,
    ) -> Result<Vec<ServiceApiDescription>, Error> {
        self.tend().await;
        let mut turn = self.turn();
        loop {
            let found = discovery::discover(&turn.standing.ccf, self.id(), query).await;
            if !self.helps(&mut turn, found.as_ref().err()).await? {
                return found;
            }
        }
    }

    /// An access token for this scope, at least 30 seconds before its end. The Onboard_Secret goes to the CAPIF core
    /// function's token endpoint over mutual TLS and nowhere else (TS 33.122 annex C.3).
    ///
    /// # Errors
    /// [`Error::TokenRefused`] carries what the token endpoint says.
    pub async fn token(&self, scope: &Scope) -> Result<AccessTokenRsp, Error> {
        self.tend().await;
        let mut standing = self.standing();
        self.token_under(&mut standing, scope).await
    }

    /// A token with the standing that it was fetched under.
    async fn token_under(
        &self,
        standing: &mut Arc<Standing>,
        scope: &Scope,
    ) -> Result<AccessTokenRsp, Error> {
        let (id, clock) = (self.id(), &self.shared.clock);
        let mut turn = self.turn();
        loop {
            *standing = Arc::clone(&turn.standing);
            let (ccf, secret) = (&standing.ccf, standing.secret.as_ref());
            let token = standing.tokens.get(scope, ccf, id, secret, clock).await;
            if !self.helps(&mut turn, token.as_ref().err()).await? {
                return token;
            }
        }
    }

    /// Opens what the folder holds.
    fn assemble(keystore: Keystore, clock: SharedClock) -> Result<Self, Error> {
        let damaged = |reason: &str| KeystoreError::Damaged {
            path: keystore.folder().to_owned(),
            reason: reason.to_owned(),
        };
        let (held, standing) = standing::read(&keystore, &clock, None)?
            .ok_or_else(|| damaged("the enrolment is missing"))?;
        let id = held
            .details
            .api_invoker_id
            .clone()
            .ok_or_else(|| damaged("the API invoker id is missing"))?;
        let agreed = Held::kept(&held, &Held::default());
        let shared = Arc::new(Shared {
            standing: ArcSwap::from_pointee(standing),
            renewing: tokio::sync::Mutex::new(()),
            upkeep: Upkeep::since(held.renewal.looked.as_ref()),
            id,
            onboarding_id: held.onboarding_id,
            held: RwLock::new(Arc::new(agreed)),
            negotiation: tokio::sync::Mutex::new(()),
            recoveries: Recoveries::default(),
            key_renewals: KeyRenewals::default(),
            known_apis: Mutex::default(),
            keystore,
            clock,
        });
        upkeep::keep(&shared);
        Ok(Self { shared })
    }

    /// The same invoker, for a task of its own.
    fn handle(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }

    /// What this invoker shows and believes now.
    fn standing(&self) -> Arc<Standing> {
        self.shared.standing.load_full()
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
        self.shared
            .known_apis
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Invoker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invoker")
            .field("id", self.id())
            .field("ccf", &self.standing().ccf.address())
            .finish_non_exhaustive()
    }
}
