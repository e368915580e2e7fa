//! TS 29.222, by API.

mod access_control_policy;
mod auditing;
mod authorization_table;
mod discover;
mod errors;
mod events;
mod invoker_management;
mod logging;
mod open_discover;
mod provider_management;
mod publish;
pub(crate) mod scene;
