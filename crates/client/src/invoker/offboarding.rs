//! Offboarding as the invoker sees it (TS 33.122 clause 6.8, TS 29.222 clause 5.5.2.3).

use http::{Method, StatusCode};

use super::Invoker;
use crate::{
    ccf::{Call, encoded},
    error::Error,
    keystore::KeystoreError,
};

/// How an enrolment ended. Either way nothing of it is left here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The CAPIF core function cancelled it now.
    Confirmed,
    /// The CAPIF core function no longer knew about it: it was cancelled before, by the operator or by an attempt whose answer
    /// was lost.
    KnownNoMore,
    /// The certificate has ended, or the authority that signed it, so that the CAPIF core function would not hear of it. What is left
    /// of the enrolment there is for its operator to remove, or ends with time.
    Unheard,
}

impl Invoker {
    /// Cancels the enrolment, then erases key, certificate, Onboard_Secret, what was negotiated, and the folder
    /// (TS 33.122 clause 6.8 step 5).
    ///
    /// # Errors
    /// As long as the CAPIF core function has not answered, nothing is erased: try again. Unless the certificate has ended: then it
    /// never will.
    pub async fn offboard(self) -> Result<Departure, Error> {
        let _one_at_a_time = self.shared.negotiation.lock().await;
        let _nor_renewed = self.shared.renewing.lock().await;
        // A certificate that another process has replaced would look like an enrolment that is gone.
        if let Err(error) = self.follow().await {
            tracing::debug!(%error, "the offboarding goes on with what is at hand");
        }
        let keystore = match self.shared.keystore.lock().await {
            // Erased by another process, which has had the answer.
            Err(KeystoreError::Gone(_)) => return Ok(Departure::KnownNoMore),
            result => result?,
        };
        let path = format!(
            "/api-invoker-management/v1/onboardedInvokers/{}",
            encoded(&self.shared.onboarding_id)
        );
        let call = Call::new("the offboarding", Method::DELETE, path);
        let standing = self.standing();
        let departure = match standing.ccf.send(call).await.map(drop) {
            Err(Error::CertificateRefused { .. })
                if standing.ends.is_over(self.shared.clock.now()) =>
            {
                Departure::Unheard
            }
            answer => departure(answer)?,
        };
        standing.tokens.clear();
        self.shared.keystore.clone().erase()?;
        drop(keystore);
        tracing::info!(invoker = %self.shared.id, ?departure, "offboarded");
        Ok(departure)
    }
}

/// What the answer to a cancellation means. A certificate that is no longer accepted belongs to an enrolment that is gone.
pub(crate) fn departure(answer: Result<(), Error>) -> Result<Departure, Error> {
    match answer {
        Ok(()) => Ok(Departure::Confirmed),
        Err(error)
            if matches!(
                error.refused_with(),
                Some(StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED)
            ) =>
        {
            Ok(Departure::KnownNoMore)
        }
        Err(error) => Err(error),
    }
}
