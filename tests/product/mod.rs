//! What users of the product rely on beyond the specifications.

mod access;
mod accounts;
mod approval;
mod authority;
mod callbacks;
mod cli;
mod configuration;
mod durability;
mod examples;
mod gateway_cli;
mod gateway_http;
mod introspection;
mod log_keeping;
mod logs;
mod moved;
mod operator_api;
mod renewal;
mod reuse;
mod sidecar;
