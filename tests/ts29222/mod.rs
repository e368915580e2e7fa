//! TS 29.222, by API.

mod access_control_policy;
mod auditing;
mod authorization_table;
mod delayed_onboarding;
mod delivery;
mod discover;
mod errors;
pub(crate) mod events;
mod invoker_management;
mod logging;
mod open_discover;
mod provider_management;
mod publish;
mod routing_info;
pub(crate) mod scene;
mod topology_hiding;
