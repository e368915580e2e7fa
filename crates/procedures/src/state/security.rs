//! Security contexts, and the AEF_PSKs that lie in them (TS 33.122 clauses 6.3 and 6.5.2.1).

use std::{collections::BTreeSet, fmt};

use capif_spec::{
    common::{AefId, ApiInvokerId, DateTime, Extra, ServiceApiId, SupportedFeatures, Uri},
    security::SecurityInformation,
    vendor::{PskProfile, PskTls},
};
use serde::{Deserialize, Serialize};

use super::Digest;
use crate::changes::{Kind, Record};

/// What an API invoker and the CCF agreed on for CAPIF-2/2e (TS 33.122 clause 6.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityContext {
    /// The invoker.
    pub invoker_id: ApiInvokerId,
    /// What was negotiated, in the order of the request.
    pub entries: Vec<SecurityEntry>,
    /// Where the invoker wants to hear of a revocation.
    pub notification_destination: Uri,
    /// The WebSocket over which it hears of it instead (TS 29.122 clause 5.2.5.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket_uri: Option<Uri>,
    /// The features agreed on.
    pub features: SupportedFeatures,
    /// Grows when authorization is taken away; tokens of an earlier number are dead.
    pub generation: u64,
    /// How many AEF_PSKs the invoker has ever had, which is the number of the last one. Never goes back, so that no two keys
    /// are called the same.
    #[serde(default)]
    pub psk_count: u64,
    /// Vendor members of the negotiation itself (TS 29.222 clause 7.11).
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

impl SecurityContext {
    /// Where the invoker is told of a revocation.
    #[must_use]
    pub fn told_at(&self) -> &Uri {
        let websocket = self.websocket_uri.as_ref();
        websocket.unwrap_or(&self.notification_destination)
    }

    /// Takes out the keys that were negotiated with certificates that count no more (R-U-06); those of earlier versions too, of
    /// which that is not known. Answers whether there were any.
    pub(crate) fn forget_keys(&mut self, ended: &[&Digest]) -> bool {
        let goes = |key: &AefPsk| {
            let certificate = key.certificate.as_ref();
            certificate.is_none_or(|certificate| ended.contains(&certificate))
        };
        let mut forgot = false;
        for entry in &mut self.entries {
            let Some(keys) = &mut entry.psk else { continue };
            if goes(&keys.current) {
                entry.psk = None;
                forgot = true;
            } else if keys.previous.as_ref().is_some_and(goes) {
                keys.previous = None;
                forgot = true;
            }
        }
        forgot
    }
}

impl Record for SecurityContext {
    const KIND: Kind = Kind::SecurityContext;
    fn record_id(&self) -> String {
        self.invoker_id.to_string()
    }
}

/// One negotiated entry of a security context (TS 29.222 clause 8.5.4.2.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityEntry {
    /// The AEF it is about.
    pub aef_id: AefId,
    /// The one API it is about; every API of that AEF within the invoker's reach if absent.
    pub api_id: Option<ServiceApiId>,
    /// The entry as it was answered, with the selected method.
    pub information: SecurityInformation,
    /// APIs that were taken out of it since (TS 23.222 clause 8.23). A new negotiation begins without any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub revoked: BTreeSet<ServiceApiId>,
    /// Its keys, if Method 1 was selected. They are in no answer to the invoker, in no event and in no listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psk: Option<AefPsks>,
}

/// The keys of one entry of a security context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AefPsks {
    /// The one to use.
    pub current: AefPsk,
    /// The one before, while it is still good (D-07).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<AefPsk>,
}

/// One AEF_PSK: the key of one invoker for one interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AefPsk {
    /// What it is called in a handshake.
    pub identity: String,
    /// The key.
    pub sealed: SealedKey,
    /// From when on it is good no longer.
    pub expires: DateTime,
    /// How it was derived.
    pub profile: PskProfile,
    /// The one version of TLS in which it is used.
    pub tls: PskTls,
    /// The interface that it is for, in the form that it was derived with.
    pub interface: String,
    /// SHA-256 of the certificate with which it was negotiated, and with which it goes; unknown of keys of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Digest>,
}

impl AefPsk {
    /// Whether it is still good.
    #[must_use]
    pub fn is_good(&self, now: &DateTime) -> bool {
        now.0 < self.expires.0
    }
}

/// A key under the core function's sealing key, which is not in the store; in whatever text the edge writes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedKey(String);

impl SealedKey {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}
