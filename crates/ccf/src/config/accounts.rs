//! `[account_service]`: names and passwords for deployed CAPIF clients. Off unless it is enabled.

use std::net::SocketAddr;

use serde::Deserialize;

/// `[account_service]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountServiceSection {
    /// Whether it is there at all.
    pub enabled: bool,
    /// Its socket, https.
    pub listen: SocketAddr,
    /// Whether anyone may make an account for themselves.
    pub registration: bool,
    /// Another socket without TLS, for clients that know no better; none if empty.
    #[serde(deserialize_with = "super::operator::socket")]
    pub insecure_plaintext_listen: Option<SocketAddr>,
    /// Life of an enrolment credential that is fetched by name and password, in minutes.
    pub credential_minutes: u32,
}

impl Default for AccountServiceSection {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: SocketAddr::from(([127, 0, 0, 1], 8084)),
            registration: false,
            insecure_plaintext_listen: None,
            credential_minutes: 10,
        }
    }
}

impl AccountServiceSection {
    /// Says what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=1440).contains(&self.credential_minutes) {
            return Err("account_service.credential_minutes: must be from 1 to 1440".to_owned());
        }
        if self.insecure_plaintext_listen.is_some() && !self.enabled {
            return Err(
                "account_service.insecure_plaintext_listen: set account_service.enabled too"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
