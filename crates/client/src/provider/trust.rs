//! Whom the functions of a domain believe: the roots that the CAPIF core function named last, kept in the folder so that a
//! provider which comes back after a change of roots still knows the core function.

use capif_transport::Anchors;

use super::{Provider, state};
use crate::{
    error::Error,
    keystore::Locked,
    trust::{are_same, from_texts},
};

impl Provider {
    /// Believes these roots from now on, and no others, whoever of its functions asks; they are kept in the folder. Says
    /// whether anything is another than before.
    ///
    /// # Errors
    /// When they cannot be kept; all is then as it was.
    pub async fn believe(&self, anchors: &Anchors) -> Result<bool, Error> {
        if are_same(&self.anchors.load(), anchors) {
            return Ok(false);
        }
        let keystore = self.keystore.lock().await?;
        let (mut held, _) = state::registered(&keystore)?;
        held.anchors_pem = anchors.pem();
        held.distrusted = anchors
            .distrusted_keys()
            .iter()
            .map(ToString::to_string)
            .collect();
        self.keep(&keystore, &held)?;
        tracing::info!(domain = %self.domain_id, ?anchors, "the roots of the CAPIF core function are other ones");
        Ok(true)
    }

    /// Puts a state in the folder and goes on with it.
    pub(super) fn keep(&self, keystore: &Locked, held: &state::Registered) -> Result<bool, Error> {
        // What cannot be used does not get there.
        let next = self.prepare(held)?;
        held.store(keystore)?;
        let version = keystore.version(state::NAME)?;
        Ok(self.go_on(next, held, version))
    }
}

/// The roots of a registration.
pub(super) fn anchors(held: &state::Registered) -> Result<Anchors, Error> {
    from_texts(std::slice::from_ref(&held.anchors_pem), &held.distrusted).map_err(|reason| {
        Error::Malformed {
            what: "set of root certificates",
            reason,
        }
    })
}
