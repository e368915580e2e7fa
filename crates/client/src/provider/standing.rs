//! How the certificates of a domain stand: when they end, when they are to be renewed, and whom to believe, as the CAPIF core
//! function says it of each function.

use base64::{Engine, prelude::BASE64_STANDARD};
use capif_spec::renewal::{RenewalReason, RenewalStatus};
use capif_transport::Anchors;
use http::StatusCode;
use time::OffsetDateTime;

use super::{Provider, function::Means};
use crate::{
    ccf::{Call, encoded},
    error::Error,
    key,
};

/// The longest OCSP response that is shown, in bytes.
const OCSP_BYTES_MAX: usize = 16 << 10;

/// How the certificates of a domain stand.
#[derive(Clone, Debug)]
pub struct Standing {
    /// When the first of them ends.
    pub expires: OffsetDateTime,
    /// From when on they are to be renewed: at two thirds of a life, or at once if the CAPIF core function asks for it.
    pub renew_after: OffsetDateTime,
    /// Why it asks, if it does, and until when it is to be done.
    pub demand: Option<(RenewalReason, OffsetDateTime)>,
    /// Since when another certificate of the domain is there that was used, and from when on the one that asked does not count.
    pub superseded: Option<(OffsetDateTime, OffsetDateTime)>,
    /// The roots that it names; none if it has no such list.
    pub anchors: Option<Anchors>,
    /// What it says of the first API exposing function's certificate, to be shown along with it (RFC 6066 section 8).
    pub ocsp_response: Option<Vec<u8>>,
}

impl Provider {
    /// Asks how the certificates stand, function by function and each under its own certificate, which is thereby seen in use.
    /// Of a CAPIF core function that does not tell, the certificates themselves say it.
    ///
    /// # Errors
    /// As for every request to the CAPIF core function.
    pub async fn standing(&self) -> Result<Standing, Error> {
        let asked = self.aef_identity().fingerprint();
        let mut standing: Option<Standing> = None;
        for (id, means) in self.functions() {
            let told = status(id, &means).await;
            self.note_move().await;
            let of_one = match told? {
                Some(status) => self.read(&status)?,
                None => self.by_life(&means)?,
            };
            standing = Some(match standing {
                None => of_one,
                Some(before) => before.and(of_one, id == self.aef().id.as_str()),
            });
        }
        if standing
            .as_ref()
            .is_some_and(|told| told.superseded.is_some())
        {
            self.note_superseded(asked).await;
        }
        // Holds because a domain has an AMF.
        standing.ok_or_else(|| Error::Usage("the domain has no function".to_owned()))
    }

    /// How the certificates stand as far as they say it themselves.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn own_standing(&self) -> Result<Standing, Error> {
        let mut standing: Option<Standing> = None;
        for (_, means) in self.functions() {
            let of_one = self.by_life(&means)?;
            standing = Some(match standing {
                None => of_one,
                Some(before) => before.and(of_one, false),
            });
        }
        standing.ok_or_else(|| Error::Usage("the domain has no function".to_owned()))
    }

    fn read(&self, status: &RenewalStatus) -> Result<Standing, Error> {
        let unusable = |reason: String| Error::BadAnswer {
            operation: OPERATION,
            address: self.ccf_address(),
            reason,
        };
        let ocsp_response = match &status.ocsp_response {
            None => None,
            Some(text) if text.len() > OCSP_BYTES_MAX => {
                return Err(unusable("its `ocspResponse` is too large".to_owned()));
            }
            Some(text) => Some(
                BASE64_STANDARD
                    .decode(text)
                    .map_err(|_| unusable("its `ocspResponse` is not in base64".to_owned()))?,
            ),
        };
        let demand = status.demand.as_ref();
        Ok(Standing {
            expires: status.certificate_expires.0,
            renew_after: status.renew_after.0,
            demand: demand.map(|demand| (demand.reason.clone(), demand.deadline.0)),
            superseded: status
                .superseded
                .as_ref()
                .map(|superseded| (superseded.since.0, superseded.until.0)),
            anchors: Some(crate::trust::listed(&status.trust).map_err(unusable)?),
            ocsp_response,
        })
    }

    /// Whether the certificate with which a renewal would be asked for has ended: see [`Provider::register_again`].
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.amf.means().ends <= self.clock.now()
    }

    fn by_life(&self, means: &Means) -> Result<Standing, Error> {
        let life = key::life(&means.identity.chain_pem());
        let (begins, ends) = life.map_err(|reason| super::damaged(&self.keystore, reason))?;
        Ok(Standing {
            expires: ends,
            renew_after: begins + (ends - begins) * 2 / 3,
            demand: None,
            superseded: None,
            anchors: None,
            ocsp_response: None,
        })
    }
}

impl Standing {
    /// What counts for two functions together: whatever is first.
    fn and(self, other: Self, is_first_aef: bool) -> Self {
        let demand = match (self.demand, other.demand) {
            (Some(one), Some(two)) => Some(if two.1 < one.1 { two } else { one }),
            (one, two) => one.or(two),
        };
        Self {
            expires: self.expires.min(other.expires),
            renew_after: self.renew_after.min(other.renew_after),
            demand,
            superseded: self.superseded.or(other.superseded),
            anchors: other.anchors.or(self.anchors),
            ocsp_response: if is_first_aef {
                other.ocsp_response
            } else {
                self.ocsp_response
            },
        }
    }
}

const OPERATION: &str = "the question about the renewal";

/// What the CAPIF core function says of one function; `None` of one that has no such resource.
pub(super) async fn status(id: &str, means: &Means) -> Result<Option<RenewalStatus>, Error> {
    let path = format!("/capif-renewal/v1/{}", encoded(id));
    match means.send(Call::get(OPERATION, path)).await {
        Ok(answer) => answer.json().map(Some),
        Err(error) => match error.refused_with() {
            Some(
                StatusCode::BAD_REQUEST
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_IMPLEMENTED,
            ) => Ok(None),
            _ => Err(error),
        },
    }
}
