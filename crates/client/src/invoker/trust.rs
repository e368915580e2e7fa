//! Whom an invoker believes, and how that follows the CAPIF core function when its authority is replaced.
//!
//! At first it is the root certificate that came with the enrolment (TS 33.122 clause 6.1 step 1). From then on the CAPIF core
//! function says it over mutual TLS, and nobody else does. What it names takes the place of what was believed before, but only
//! once it was seen that the CAPIF core function itself can be reached that way: an anchor that is still needed for that stays. A
//! key that it no longer believes is given up in any case.

use capif_spec::renewal::TrustList;
use capif_transport::Anchors;

use super::state::Onboarded;
use crate::{
    error::Error,
    trust::{are_same, from_texts, listed},
};

/// Anchors and distrusted keys.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    anchors_pem: String,
    distrusted: Vec<String>,
}

impl Trust {
    pub(super) fn of(state: &Onboarded) -> Self {
        Self {
            anchors_pem: state.anchors_pem.clone(),
            distrusted: state.distrusted.clone(),
        }
    }

    /// What the CAPIF core function names.
    ///
    /// # Errors
    /// Refuses what is not a set of roots and keys.
    pub(super) fn named(named: &TrustList) -> Result<Self, String> {
        let anchors = listed(named)?;
        let distrusted = anchors.distrusted_keys().iter().map(ToString::to_string);
        Ok(Self {
            distrusted: distrusted.collect(),
            anchors_pem: anchors.pem(),
        })
    }

    /// Everybody named here or there, without the keys that are distrusted here.
    pub(super) fn and_anchors_of(&self, other: &Self) -> Self {
        let mut both = self.clone();
        if let (Ok(ours), Ok(theirs)) = (
            Anchors::from_pem(&self.anchors_pem),
            Anchors::from_pem(&other.anchors_pem),
        ) {
            let known = ours.fingerprints();
            let missing = theirs
                .fingerprints()
                .iter()
                .any(|anchor| !known.contains(anchor));
            if missing && let Ok(all) = Anchors::from_pems([&self.anchors_pem, &other.anchors_pem])
            {
                both.anchors_pem = all.pem();
            }
        }
        both
    }

    pub(super) fn anchors(&self) -> Result<Anchors, Error> {
        self.believed().map_err(|reason| Error::Malformed {
            what: "root certificate",
            reason,
        })
    }

    fn believed(&self) -> Result<Anchors, String> {
        from_texts(std::slice::from_ref(&self.anchors_pem), &self.distrusted)
    }

    /// Whether the same are believed.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self.believed(), other.believed()) {
            (Ok(one), Ok(other)) => are_same(&one, &other),
            _ => false,
        }
    }

    pub(super) fn put(self, state: &mut Onboarded) {
        state.anchors_pem = self.anchors_pem;
        state.distrusted = self.distrusted;
    }
}
