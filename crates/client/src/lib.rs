//! The client side of CAPIF (TS 23.222, TS 29.222, TS 33.122): what an API invoker and an API provider do.
//!
//! # An API invoker
//!
//! It enrols once with a code from the API provider, then calls APIs by their names. Discovery, choice of the security method,
//! certificates and tokens are taken care of.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use capif_client::{Enrolment, EnrolmentCode, Invoker, Keystore, OnboardingRequest};
//! use capif_transport::{SharedClock, SystemClock};
//!
//! let clock: SharedClock = Arc::new(SystemClock);
//! let code: EnrolmentCode = "capif1.eyJhIjoi…".parse()?;
//! let enrolment = Enrolment::from_code(&code, clock.clone()).await?;
//! let keystore = Keystore::open("/var/lib/my-application/capif")?;
//! // Enrols the first time, and merely opens the enrolment every other time.
//! let request = OnboardingRequest::default();
//! let invoker = Invoker::onboard(keystore, &enrolment, request, clock).await?;
//!
//! let request = http::Request::get("/weather/v1/today").body(capif_transport::empty())?;
//! let response = invoker.call("weather", request).await?;
//! assert!(response.status().is_success());
//! # Ok(())
//! # }
//! ```
//!
//! # An API provider
//!
//! It registers once with a bundle from the operator, publishes, and asks about those who call.
//!
//! ```no_run
//! # async fn example(weather: capif_spec::publish_service::ServiceApiDescription) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use capif_client::{Bundle, Keystore, Provider, ProviderRequest};
//! use capif_spec::common::ApiInvokerId;
//! use capif_transport::{SharedClock, SystemClock};
//!
//! let clock: SharedClock = Arc::new(SystemClock);
//! let bundle: Bundle = std::fs::read_to_string("acme.bundle")?.parse()?;
//! let request = ProviderRequest {
//!     hosts: vec!["gateway.acme.example".to_owned()],
//!     ..ProviderRequest::default()
//! };
//! let keystore = Keystore::open("/var/lib/gateway/capif")?;
//! let provider = Provider::register(keystore, &bundle, request, clock).await?;
//!
//! // `weather` names `provider.aef_id()` in its AEF profile.
//! let published = provider.publish(&weather).await?;
//! let caller = ApiInvokerId::new("the common name of a client certificate");
//! if let Some(context) = provider.security_context(&caller).await? {
//!     // Method and rights of the caller at this AEF.
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Both stand as programs in `examples/`, each under 60 lines.
//!
//! # What is there
//!
//! | what | where | clause |
//! | --- | --- | --- |
//! | enrol by a code, wait for approval, cancel | [`Invoker::onboard`], [`Invoker::offboard`] | TS 23.222 clause 8.1, TS 29.222 clause 5.5 |
//! | find APIs | [`Invoker::discover`] | TS 29.222 clause 5.2 |
//! | agree on PSK, PKI or OAUTH | [`Invoker::negotiate`], or by the first call | TS 33.122 clauses 6.3 and 6.5.2 |
//! | call, with keys, certificates and tokens | [`Invoker::call`], [`Invoker::token`] | TS 33.122 clauses 6.4, 6.5.2 and 6.7 |
//! | renew certificate and secret | by itself; [`Invoker::renew`], [`Invoker::upkeep`] | TS 23.222 clause 8.26 |
//! | register a domain, leave | [`Provider::register`], [`Provider::deregister`] | TS 29.222 clause 5.11 |
//! | publish, update, withdraw | [`Provider::publish`], [`Provider::unpublish`] | TS 29.222 clause 5.3 |
//! | judge callers | [`Provider::security_context`], [`Provider::jwks`], [`Provider::access_control_policy`] | TS 29.222 clauses 5.6 and 5.7 |
//! | events, logs, revocation | [`Provider::subscribe`], [`Provider::send_log`], [`Provider::revoke`] | TS 29.222 clauses 5.4, 5.8 and 5.6 |
//!
//! # Errors
//!
//! Every request to the CAPIF core function can fail as follows. [`Error::kind`] sorts what is left to do; the text says it, and never
//! holds a secret.
//!
//! | kind | what happened | what helps |
//! | --- | --- | --- |
//! | [`ErrorKind::Network`], [`ErrorKind::TimedOut`] | no connection, or no answer in time | the same again; a call of an API only if the API bears it twice |
//! | [`ErrorKind::Authentication`] | one end does not accept the other's certificate, credential or secret | enrol anew, or ask the operator |
//! | [`ErrorKind::Refused`] | the core function says no | [`Error::problem`] has its words |
//! | [`ErrorKind::NotFound`] | there is no such API, or none that this enrolment reaches | the name, or the provider |
//! | [`ErrorKind::Conflict`] | somebody else uses the folder, it is another core function's, or several providers have an API of the name | another folder, a little later, or [`Invoker::negotiate`] with the one that is meant |
//! | [`ErrorKind::Usage`] | what the caller gave cannot be | a change in the program |
//! | [`ErrorKind::Internal`] | this library, or the machine, failed | a report |
//!
//! Where a function says no more than "as for every request to the CAPIF core function", these are all.
//!
//! # What may surprise
//!
//! - The private key is made in the keystore and stays there; requests carry a PKCS#10 request (D-22).
//! - Everything that can be asked twice is safe to repeat: an answer that got lost costs neither credential nor identity.
//! - Certificate and Onboard_Secret are renewed by themselves, beside the calls, where the CAPIF core function agrees to that;
//!   several processes may share a folder.
//! - All three security methods are carried out. The key of Method 1 is derived from the negotiation itself, and renewed by
//!   another one before it ends.
//! - Nothing that an exposing function says makes an invoker use another address or a method that the CAPIF core function did
//!   not name.
//! - A CAPIF core function that has moved says so, and is followed: over https, to one that proves the same role under the same
//!   roots. What it says for good is kept in the folder.

mod address;
mod ccf;
mod discovery;
mod enrolment;
mod error;
mod invoker;
mod key;
mod keystore;
mod provider;
mod random;
mod token;
mod trust;
mod whereabouts;

pub use discovery::DiscoveryQuery;
pub use enrolment::{Bundle, Enrolment, EnrolmentCode};
pub use error::{Error, ErrorKind};
pub use invoker::{
    AgreedKey, Agreement, Departure, Invoker, OnboardingRequest, Renewal, RenewalOptions,
    RenewalStatus, Wish,
};
pub use keystore::{Keystore, KeystoreError, LOCK_WAIT, Locked};
pub use provider::{Allowance, Limit, Provider, ProviderRequest, Renewed, Standing};
