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

pub use discovery::DiscoveryQuery;
pub use enrolment::{Bundle, Enrolment, EnrolmentCode};
pub use error::{Error, ErrorKind};
pub use invoker::{
    AgreedKey, Agreement, Departure, Invoker, OnboardingRequest, Renewal, RenewalOptions,
    RenewalStatus, Wish,
};
pub use keystore::{Keystore, KeystoreError, LOCK_WAIT, Locked};
pub use provider::{Allowance, Limit, Provider, ProviderRequest, Renewed, Standing};
