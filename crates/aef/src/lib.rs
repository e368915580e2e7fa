//! The API exposing function (AEF) as a gateway in front of any HTTP API (TS 23.222 clause 6.3.4, TS 33.122 clauses 6.4 and 6.5).
//!
//! The provider writes no code. The gateway registers the provider's domain, publishes the API, and lets a call through only
//! when the CCF's security context of the caller says so: [`invocation`] holds the checks in their order. What the CCF says
//! is asked once and remembered for a short while ([`memory`]); events make it forget at once ([`api`]), and a periodic
//! comparison finds what events did not tell ([`comparison`]).

pub mod config;
pub use config::{ExposedApi, GatewayConfig, Interface};

pub mod gateway;
pub use gateway::{Gateway, GatewayError};

mod methods;
pub use methods::{PublishedMethods, change_methods};

mod edge;

pub mod invocation;

mod proof;

mod doubts;

mod tokens;

mod access;

mod allowances;

mod answer;

mod headers;

mod path;

mod log;

mod api;

mod memory;

mod contexts;

mod keys;

mod trust;

mod publication;

mod subscription;

mod settlement;

mod upkeep;

mod comparison;

mod link;

mod address;
