//! What users of the product rely on beyond the specifications.

mod access;
mod authority;
mod cli;
mod configuration;
mod durability;
mod gateway_cli;
mod gateway_http;
mod logs;
mod renewal;
