//! What the operator of the core function does about accounts, whether or not the account service is enabled.

use capif_procedures::{changes::Versioned, state::Account};
use capif_spec::common::Redacted;
use serde_json::Value;

use super::{AccountError, passwords::Passwords, users};
use crate::{api::problem::ApiError, audit::Act, core::Core};

/// Every account as it may be told.
pub(crate) async fn list(core: &Core) -> Result<Vec<Value>, AccountError> {
    let all = users::all(core).await?;
    Ok(all.iter().map(|held| users::told(&held.record)).collect())
}

/// Gives an account a new password that nobody knows yet, and signs its holder out.
pub(crate) async fn new_password(core: &Core, name: &str) -> Result<Redacted, AccountError> {
    let held = known(core, name).await?;
    let password = Passwords::random().map_err(ApiError::from)?;
    let hash = Passwords::new()?.hash(&password).await?;
    let act = Act::by_operator("SetAccountPassword", name);
    users::set_password(core, act, &held, hash).await?;
    core.account_sessions.end(name);
    Ok(password)
}

/// Removes an account. What its holder enrolled stays.
pub(crate) async fn remove(core: &Core, name: &str) -> Result<(), AccountError> {
    let held = known(core, name).await?;
    users::remove(core, Act::by_operator("RemoveAccount", name), &held).await?;
    core.account_sessions.end(name);
    Ok(())
}

/// Whether there is an account of this name.
pub(crate) async fn is_known(core: &Core, name: &str) -> Result<bool, AccountError> {
    Ok(users::find(core, name).await?.is_some())
}

async fn known(core: &Core, name: &str) -> Result<Versioned<Account>, AccountError> {
    let held = users::find(core, name).await?;
    held.ok_or(AccountError::NoUser)
}
