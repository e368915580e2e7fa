//! The CAPIF core function.

pub mod store;
