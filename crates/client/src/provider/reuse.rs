//! Registering again with a reusable bundle, once the certificates in a folder have ended: nothing else is left to show who asks.
//! Choice: TS 29.222 clause 5.11.2.2 knows a first registration alone.
//!
//! It is a renewal under another proof: the same functions by their ids, new keys, which are on the disk before anything is sent,
//! and an answer that can be asked for again.

use capif_spec::{api_provider_management::ApiProviderEnrolmentDetails, common::DateTime};
use capif_transport::Fingerprint;
use http::{Method, StatusCode};

use super::{
    Provider, Renewed, renewal,
    state::{self, Registered, Requested},
    trust,
};
use crate::{
    ccf::{Call, Ccf},
    enrolment::Bundle,
    error::Error,
};

const OPERATION: &str = "the registration with a reusable bundle";

impl Provider {
    /// Registers the domain of this folder again, with a bundle that can be reused: for when its certificates have ended
    /// ([`Provider::has_ended`]). Domain and functions keep their ids, and what is published stays. What another process of this
    /// folder has got meanwhile is taken over instead.
    ///
    /// It takes the certificates from whoever else has registered with the bundle; so nobody does it whose
    /// folder heard that it was [superseded](super::Standing::superseded).
    ///
    /// # Errors
    /// Says by which command the operator makes a bundle if this one does not help; the folder is then as it was.
    pub async fn register_again(&self, bundle: &Bundle) -> Result<Renewed, Error> {
        let keystore = self.keystore.lock().await?;
        if self.reload()? && !self.has_ended() {
            drop(keystore);
            self.activate().await;
            return Ok(Renewed::Elsewhere);
        }
        let (mut held, _) = state::registered(&keystore)?;
        if !held.is_at(&bundle.address) {
            return Err(Error::EnrolledElsewhere {
                address: held.address,
            });
        }
        if held.superseded {
            return Err(Error::Superseded {
                domain_id: held.domain_id,
            });
        }
        let requests = renewal::requests(&keystore, &mut held)?;
        let mut known = held.clone();
        known.anchors_pem = with_roots(&held, bundle);
        let ccf = Ccf::new(
            self.whereabouts.clone(),
            trust::anchors(&known)?,
            None,
            self.clock.clone(),
        )?;
        let path = "/api-provider-management/v1/registrations".to_owned();
        let call = Call::new(OPERATION, Method::POST, path)
            .json(&details(&held, &requests, bundle))?
            .bearer(&bundle.credential)
            .advice(advice);
        let answer = match ccf.send(call).await {
            Ok(answer) => answer,
            Err(error) => {
                if error.refused_with().is_some_and(renewal::is_final) {
                    renewal::give_up(&keystore, held)?;
                }
                return Err(self.not_helped(error));
            }
        };
        let renewed = renewal::accept(&keystore, known, &requests, &answer, self.clock.now())?;
        self.keep(&keystore, &renewed)?;
        drop(keystore);
        self.note_move().await;
        tracing::warn!(domain = %self.domain_id, "the certificates had ended: registered again with the reusable bundle");
        self.activate().await;
        Ok(Renewed::Here)
    }

    /// Puts into the folder that somebody else has the certificates it has, so that a later start knows it too. Where it cannot be
    /// put there, it is heard again.
    pub(super) async fn note_superseded(&self, asked: Fingerprint) {
        let note = async {
            let keystore = self.keystore.lock().await?;
            let (mut held, version) = state::registered(&keystore)?;
            // Otherwise it was another process of this folder, whose certificates are there.
            let is_same = version == self.held().version;
            if !is_same || held.superseded || self.aef_identity().fingerprint() != asked {
                return Ok(false);
            }
            held.superseded = true;
            self.keep(&keystore, &held)
        };
        let noted: Result<bool, Error> = note.await;
        if let Err(error) = noted {
            tracing::warn!(%error, "it was not kept that somebody else has the certificates");
        }
    }

    /// A refusal of the bundle is told together with what to ask the operator for.
    fn not_helped(&self, error: Error) -> Error {
        let refused = error.refused_with();
        if !refused.is_some_and(|status| status.is_client_error() && advice(status).is_empty()) {
            return error;
        }
        Error::RegistrationEnded {
            domain_id: self.domain_id.clone(),
            ended: DateTime(self.amf.means().ends),
            refusal: Some(Box::new(error)),
        }
    }
}

/// The roots that the domain knows, and those of the bundle: either may be older.
fn with_roots(held: &Registered, bundle: &Bundle) -> String {
    let roots = bundle.anchors_pem.trim();
    if held.anchors_pem.contains(roots) {
        return held.anchors_pem.clone();
    }
    format!("{}\n{roots}\n", held.anchors_pem.trim_end())
}

fn details(
    held: &Registered,
    requests: &[Requested],
    bundle: &Bundle,
) -> ApiProviderEnrolmentDetails {
    ApiProviderEnrolmentDetails {
        api_prov_dom_id: None,
        reg_sec: bundle.credential.clone(),
        // By their ids, so that the bundle of another domain is refused and opens nothing.
        api_prov_funcs: renewal::patch(held, requests).api_prov_funcs,
        api_prov_dom_info: None,
        supp_feat: None,
        fail_reason: None,
        api_prov_name: Some(held.domain_name.clone()),
        extra: Default::default(),
    }
}

/// Nothing where another bundle is what helps.
fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "try again later with the same bundle"
        }
        status if status.is_server_error() => {
            "the fault is on its side: try again with the same bundle, and tell its operator if it stays"
        }
        _ => "",
    }
}
