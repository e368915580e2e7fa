//! The authorities that follow one another, and the keys of access tokens.

use std::fmt;

use capif_spec::common::DateTime;
use serde::{Deserialize, Serialize};

use super::Digest;
use crate::changes::{Kind, Record};

/// One issuing authority with the root above it. Private keys are not here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Its number, from 1 on; never given twice.
    pub number: u32,
    /// The root certificate as PEM.
    pub root: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the root.
    pub root_key: Digest,
    /// The number of the generation that the root began with.
    pub root_number: u32,
    /// The same root, signed by the one before it, as PEM: for whoever knows only that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross: Option<String>,
    /// The certificate of the issuing authority as PEM.
    pub issuing: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the issuing authority.
    pub issuing_key: Digest,
    /// When the certificate of the issuing authority ends.
    pub not_after: DateTime,
    /// When the certificate of the root ends.
    pub root_not_after: DateTime,
    /// Since when it is there.
    pub created: DateTime,
    /// What counts of it.
    pub state: GenerationState,
}

impl Record for Generation {
    const KIND: Kind = Kind::Authority;
    fn record_id(&self) -> String {
        self.number.to_string()
    }
}

/// What counts of a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", tag = "name")]
pub enum GenerationState {
    /// It signs.
    Current,
    /// It signs no longer; what it signed counts.
    Overlapping {
        /// From when on nothing of it counts.
        until: DateTime,
    },
    /// Nothing of it counts.
    Retired {
        /// Since when.
        since: DateTime,
    },
}

/// A key that signs, will sign or signed access tokens.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenKey {
    /// Its name: the thumbprint of the public half (RFC 7638).
    pub kid: String,
    /// The private key, sealed outside of the store.
    pub sealed: String,
    /// Since when its public half is handed out.
    pub published: DateTime,
    /// From when on it signs, until another one does.
    pub signs_from: DateTime,
    /// From when on nothing that it signed counts, and its public half is not handed out any more; open as long as it signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires: Option<DateTime>,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey")
            .field("kid", &self.kid)
            .field("published", &self.published)
            .field("signs_from", &self.signs_from)
            .field("retires", &self.retires)
            .finish_non_exhaustive()
    }
}

impl Record for TokenKey {
    const KIND: Kind = Kind::TokenKey;
    fn record_id(&self) -> String {
        self.kid.clone()
    }
}
