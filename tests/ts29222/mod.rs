//! TS 29.222, by API.

mod authorization_table;
mod errors;
mod provider_management;
mod publish_and_discover;
mod scene;
