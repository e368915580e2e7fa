//! The data types of TS 29.222 (CAPIF) and of the specifications that it borrows from, as they stand on the wire.
//!
//! One module per API, in the order of the standard. A type has the name of its schema, a field the name of its member,
//! both in Rust's spelling. Types carry no behaviour, with three exceptions that parsing cannot do without: [`json`] reads
//! a document strictly, [`checked`] tests what a schema asks beyond types, and [`security::Scope`] knows its own grammar.
//!
//! What may surprise: every object keeps members that it does not know in `extra`, so that vendor members survive
//! (TS 29.222 clause 7.11), and every enumeration accepts values that it does not know.

#[macro_use]
mod macros;

pub mod common;

pub mod json;

pub mod checked;

pub mod features;

pub mod api_invoker_management;

pub mod api_provider_management;

pub mod publish_service;

pub mod discover_service;

pub mod open_discover_service;

pub mod events;

pub mod security;

pub mod vendor;

pub mod access_control_policy;

pub mod logging;

pub mod auditing;

pub mod routing_info;

pub mod aef_security;

pub mod renewal;
