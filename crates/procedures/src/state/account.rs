//! Accounts, by which people of deployed CAPIF clients get their credentials. TS 29.222 knows nothing of them.

use capif_spec::common::DateTime;
use serde::{Deserialize, Serialize};

use crate::changes::{Kind, Record};

/// One account.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The name that its holder signs in with.
    pub name: String,
    /// The id by which administrators speak of it.
    pub uuid: String,
    /// The password as an Argon2id hash in PHC form.
    pub password: String,
    /// Whether its holder looks after the other accounts. An administrator enrols nobody.
    pub is_administrator: bool,
    /// What is known of its holder, as it was given.
    pub profile: serde_json::Map<String, serde_json::Value>,
    /// When it was made.
    pub created: DateTime,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("uuid", &self.uuid)
            .field("password", &"[redacted]")
            .field("is_administrator", &self.is_administrator)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

impl Record for Account {
    const KIND: Kind = Kind::Account;
    fn record_id(&self) -> String {
        self.name.clone()
    }
}
