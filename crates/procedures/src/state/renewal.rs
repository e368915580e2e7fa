//! How certificate and Onboard_Secret of one entity are renewed: what was handed over and not yet used, what is on its way out,
//! and what the core function asks for.
//!
//! New material is handed over as the successor. It takes effect when its holder uses it for the first time, so that an answer
//! that gets lost locks nobody out; what it replaces then retires after an overlap.

use capif_spec::common::DateTime;
use serde::{Deserialize, Serialize};

use super::{Certificate, Digest, Pem, SealedKey};

/// The state of renewal of an API invoker or a provider function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Renewal {
    /// Whether the entity agreed to renew without offboarding; if not, its secret stays what it is (TS 29.222 clause 5.5.2.5.2).
    pub agreed: bool,
    /// New material that nobody has been seen to use yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successor: Option<Box<Successor>>,
    /// Old material that still counts, the newest first; at most [`Renewal::RETIRING_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retiring: Vec<Retiring>,
    /// What is needed to give the last answer again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handover: Option<Box<Handover>>,
    /// What the core function asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demand: Option<Box<Demand>>,
    /// Since when all but its own renewal is taken from the entity, at the AEFs too: from a compromise on, or since it was found
    /// overdue where policy says so. Activation ends it together with the demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<DateTime>,
}

impl Renewal {
    /// How much old material may count at a time.
    pub const RETIRING_MAX: usize = 4;

    /// Whether what is in use may be in other hands.
    #[must_use]
    pub fn is_compromised(&self) -> bool {
        let reason = self.demand.as_ref().map(|demand| demand.reason);
        reason == Some(DemandReason::Compromise)
    }

    /// Whether nothing is to be kept.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a demand was not followed by its deadline.
    #[must_use]
    pub fn is_overdue(&self, now: &DateTime) -> bool {
        self.demand
            .as_ref()
            .is_some_and(|demand| demand.deadline <= *now)
    }
}

/// Material that will replace what is in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Successor {
    /// The public key in the text that was sent.
    pub public_key_text: Pem,
    /// The certificate.
    pub certificate: Certificate,
    /// SHA-256 of the Onboard_Secret, for an API invoker that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onboard_secret: Option<Digest>,
    /// When that secret ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_expires: Option<DateTime>,
}

/// Material that was replaced and still counts for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retiring {
    /// The certificate.
    pub certificate: Certificate,
    /// SHA-256 of the Onboard_Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onboard_secret: Option<Digest>,
    /// When that secret ends, if that is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_expires: Option<DateTime>,
    /// From when on neither counts.
    pub until: DateTime,
}

/// What is needed to give an answer once more, word for word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Handover {
    /// How the asker called its request.
    pub request: String,
    /// The mark of use of the credential that the request came with, if the answer was that to an onboarding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Digest>,
    /// SHA-256 of the public key's text in that request.
    pub public_key_text: Digest,
    /// The Onboard_Secret that was handed over, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SealedKey>,
    /// Until when the answer is given although the credential has ended: the onboarding had to wait for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime>,
}

/// The core function wants an entity to renew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Why.
    pub reason: DemandReason,
    /// Since when.
    pub since: DateTime,
    /// Until when it is to be done; who has not done it by then is overdue.
    pub deadline: DateTime,
}

/// Why a renewal is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DemandReason {
    /// Two thirds of a life have passed.
    Policy,
    /// The operator asked for it.
    Operator,
    /// What is in use may be in other hands: it counts for nothing but its replacement.
    Compromise,
    /// The authority that signed the certificate is replaced.
    Authority,
}
