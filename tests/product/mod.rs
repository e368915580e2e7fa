//! What users of the product rely on beyond the specifications.

mod cli;
mod configuration;
mod durability;
mod gateway_http;
mod logs;
