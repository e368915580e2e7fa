//! TS 29.222, by API.

mod access_control_policy;
mod authorization_table;
mod discover;
mod errors;
mod events;
mod invoker_management;
mod logging;
mod provider_management;
mod publish;
mod scene;
