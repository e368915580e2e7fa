//! The CAPIF core function (CCF): the functional entity of TS 23.222 clause 6.3.3 that onboards API invokers, registers
//! API providers, publishes and discovers service APIs, negotiates security and issues access tokens.
//!
//! [`ccf::Ccf`] is the whole of it as a value: started from a [`config::Config`], drained when it is no longer needed.

pub mod config;

pub mod init;

pub mod ccf;

pub mod moved;

pub mod api;

pub mod audit;

pub mod admin;

pub mod tasks;

mod account;

mod compat;

pub mod authority;

pub mod credential;

mod revocation;

pub mod agenda;

pub mod view;

pub mod store;

mod core;

mod destination;

mod websocket;

mod log_book;

mod random;

pub mod sealing;
