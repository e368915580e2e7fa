//! Records of the operator: who may speak for it, and how long the invocation logs of an API are kept.

use capif_spec::common::{DateTime, ServiceApiId};
use serde::{Deserialize, Serialize};

use super::Digest;
use crate::changes::{Kind, Record};

/// A credential of the operator's API, by its digest alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorCredential {
    /// The name on every act that is done with it.
    pub name: String,
    /// SHA-256 of the token.
    pub token: Digest,
    /// Whether nothing may be changed with it.
    pub read_only: bool,
    /// When it was made.
    pub created: DateTime,
    /// From when on it counts no more.
    pub expires: DateTime,
}

impl Record for OperatorCredential {
    const KIND: Kind = Kind::OperatorCredential;
    fn record_id(&self) -> String {
        self.name.clone()
    }
}

/// How long the invocation log entries of an API are kept. It outlives the API, as its entries do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRetention {
    /// The API.
    pub api_id: ServiceApiId,
    /// Its name at that time.
    pub api_name: String,
    /// For how many hours from the report on.
    pub hours: u32,
}

impl Record for LogRetention {
    const KIND: Kind = Kind::LogRetention;
    fn record_id(&self) -> String {
        self.api_id.to_string()
    }
}
