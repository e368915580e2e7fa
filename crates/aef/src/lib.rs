//! The API exposing function (AEF) as a gateway in front of any HTTP API (TS 23.222 clause 6.3.4, TS 33.122 clause 6.5).
//!
//! The provider writes no code. The gateway registers the provider's domain, publishes the API, and lets a call through only
//! when the CCF's security context of the caller says so: [`invocation`] holds the checks in their order. What the CCF says
//! is asked once and remembered for a short while ([`contexts`]); events make it forget at once ([`api`]).

pub mod config;
pub use config::{ExposedApi, GatewayConfig};

pub mod gateway;
pub use gateway::{Gateway, GatewayError};

pub mod invocation;

mod api;

mod answer;

mod contexts;

mod headers;

mod log;

mod path;

mod tokens;
