//! S0 in detail: security information that stays fresh without offboarding (R-U-01 to R-U-08).

mod client;
mod demanded;
mod expiry;
mod gateway;
mod hostile;
mod invoker;
mod providers;
pub(crate) mod renewable;
