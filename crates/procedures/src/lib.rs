//! The rules of TS 23.222 clause 8 and TS 33.122 clause 6, one module per procedure.
//!
//! A procedure is a plain function: the request, the records it needs and the time go in; [`changes::Changes`] and a
//! reply, or a [`refusal::Refusal`], come out. Nothing here reads a clock, draws a random number, waits, logs or
//! talks to anyone.

pub mod changes;
pub mod refusal;
pub mod state;

pub mod onboarding;

pub mod rotation;

pub mod demand;

pub mod offboarding;

pub mod registration;

pub mod publication;

pub mod topology_hiding;

pub mod routing;

pub mod discovery;

pub mod security_method;

pub mod aefpsk;

pub mod authorization;

pub mod introspection;

pub mod authentication;

pub mod revocation;

pub mod access_control;

pub mod authority;

pub mod token_keys;

pub mod events;

pub mod delivery;

pub mod invocation_log;

pub mod auditing;

pub mod operator;

#[cfg(test)]
mod fixtures;
