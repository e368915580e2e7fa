//! TS 29.222, by API.

mod authorization_table;
mod errors;
