//! Renewal of the certificates of a domain (TS 29.222 clause 5.11.2.4): new keys for all functions in one request of the API
//! management function, while everything goes on under the old ones.
//!
//! New keys and requests are on the disk before anything is sent, so that after a lost answer the very same request is sent
//! again. An answer is checked, then state that names the new keys takes the place of the old one, whole. Then each function
//! shows its new certificate, from when on the old one is on its way out; only then the old private keys are erased. Whatever
//! of this is cut off, the folder holds keys and certificates that belong together.

use capif_spec::api_provider_management::{
    ApiProviderEnrolmentDetails, ApiProviderEnrolmentDetailsPatch, ApiProviderFuncRole,
    ApiProviderFunctionDetails, RegistrationInformation,
};
use http::{Method, StatusCode};
use serde_json::json;
use time::OffsetDateTime;

use super::{
    Provider,
    registration::{HOSTS_MEMBER, role},
    standing,
    state::{self, Registered, Requested},
};
use crate::{
    ccf::{Answer, Call, encoded},
    error::{Error, Quoted},
    keystore::{KeystoreError, Locked},
};

const OPERATION: &str = "the renewal";

/// By whom certificates were renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// By this process.
    Here,
    /// By another process that shares the folder: its certificates were taken over.
    Elsewhere,
}

impl Provider {
    /// Gets every function a new key and certificate, and goes on with them. What another process of this folder has renewed
    /// meanwhile is taken over instead. After an attempt whose answer was lost, the very same request is repeated.
    ///
    /// # Errors
    /// As for every request to the CAPIF core function. The old certificates are then still in use, and as good as before.
    pub async fn renew(&self) -> Result<Renewed, Error> {
        let keystore = self.keystore.lock().await?;
        if self.reload()? {
            drop(keystore);
            self.activate().await;
            return Ok(Renewed::Elsewhere);
        }
        let (mut held, _) = state::registered(&keystore)?;
        let requests = requests(&keystore, &mut held)?;
        let path = format!(
            "/api-provider-management/v1/registrations/{}",
            encoded(self.domain_id.as_str())
        );
        let call = Call::new(OPERATION, Method::PATCH, path)
            .merge_patch(&patch(&held, &requests))?
            .advice(advice);
        let answer = match self.amf.send(call).await {
            Ok(answer) => answer,
            Err(error) => {
                if error.refused_with().is_some_and(is_final) {
                    give_up(&keystore, held)?;
                }
                return Err(error);
            }
        };
        let renewed = accept(&keystore, held, &requests, &answer, self.clock.now())?;
        self.keep(&keystore, &renewed)?;
        drop(keystore);
        self.note_move().await;
        tracing::info!(domain = %self.domain_id, "the certificates of all functions are renewed");
        self.activate().await;
        Ok(Renewed::Here)
    }

    /// Whether a renewal was begun of which no answer is known: then it is to be asked for again.
    #[must_use]
    pub fn is_renewing(&self) -> bool {
        self.held().renewing
    }

    /// Shows every function's certificate to the CAPIF core function, so that a new one is seen in use, then erases the keys that
    /// were replaced. What is not reached now is for the next time: says whether all is done.
    pub async fn activate(&self) -> bool {
        if !self.held().unused {
            return true;
        }
        let shown = self.functions();
        for (id, means) in &shown {
            if let Err(error) = standing::status(id, means).await {
                // It was shown, and known: whatever else the answer says.
                let known = error
                    .refused_with()
                    .is_some_and(|status| status != StatusCode::UNAUTHORIZED);
                if !known {
                    tracing::warn!(function = id, %error, "a new certificate was not shown yet");
                    return false;
                }
            }
        }
        match self.erase_replaced().await {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "replaced keys were not erased yet");
                false
            }
        }
    }

    async fn erase_replaced(&self) -> Result<bool, Error> {
        let keystore = self.keystore.lock().await?;
        // Another process may have renewed once more: then its certificates are the ones to be shown.
        if self.reload()? {
            return Ok(false);
        }
        let (mut held, _) = state::registered(&keystore)?;
        held.replaced.clear();
        held.clear_keys(&keystore)?;
        self.keep(&keystore, &held)?;
        Ok(true)
    }
}

/// The requests that wait for an answer, or new ones.
pub(super) fn requests(keystore: &Locked, held: &mut Registered) -> Result<Vec<Requested>, Error> {
    match held.renewal.clone() {
        Some(requests) => Ok(requests),
        None => prepare(keystore, held),
    }
}

/// Makes the key pairs and requests, and puts all on the disk.
fn prepare(keystore: &Locked, held: &mut Registered) -> Result<Vec<Requested>, Error> {
    held.renewals = held.renewals.saturating_add(1);
    let number = held.renewals;
    let requests = held
        .functions()
        .enumerate()
        .map(|(index, function)| {
            let key = match index.checked_sub(2) {
                Some(index) => format!("aef-{index}-{number}"),
                None if index == 0 => format!("amf-{number}"),
                None => format!("apf-{number}"),
            };
            let certificate_request = keystore
                .make_key(&key)?
                .request(function.id.as_str())
                .map_err(KeystoreError::Key)?;
            Ok(Requested {
                name: function.name.clone(),
                key,
                certificate_request,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    held.renewal = Some(requests.clone());
    held.store(keystore)?;
    Ok(requests)
}

/// Forgets a renewal that was refused: the next one begins anew.
pub(super) fn give_up(keystore: &Locked, mut held: Registered) -> Result<(), Error> {
    held.renewal = None;
    held.store(keystore)?;
    held.clear_keys(keystore)
}

/// All functions as they are, but with new keys: what is left out would be removed.
pub(super) fn patch(held: &Registered, requests: &[Requested]) -> ApiProviderEnrolmentDetailsPatch {
    let functions = held.functions().zip(requests).enumerate();
    let functions = functions.map(|(index, (function, request))| {
        let mut details = ApiProviderFunctionDetails {
            api_prov_func_id: Some(function.id.clone()),
            reg_info: RegistrationInformation {
                api_prov_pub_key: request.certificate_request.clone(),
                api_prov_cert: None,
                extra: Default::default(),
            },
            api_prov_func_role: role(index),
            api_prov_func_info: Some(function.name.clone()),
            extra: Default::default(),
        };
        if details.api_prov_func_role == ApiProviderFuncRole::Aef {
            let hosts = json!({ "hosts": held.hosts });
            details.extra.insert(HOSTS_MEMBER.to_owned(), hosts);
        }
        details
    });
    ApiProviderEnrolmentDetailsPatch {
        api_prov_funcs: Some(functions.collect()),
        ..ApiProviderEnrolmentDetailsPatch::default()
    }
}

/// Takes the answer in if every function got a certificate for its own new key.
pub(super) fn accept(
    keystore: &Locked,
    mut held: Registered,
    requests: &[Requested],
    answer: &Answer,
    now: OffsetDateTime,
) -> Result<Registered, Error> {
    let details: ApiProviderEnrolmentDetails = answer.json()?;
    if let Some(reason) = &details.fail_reason {
        return Err(answer.unusable(format!(
            "not every function was renewed: {}",
            Quoted(reason)
        )));
    }
    let answered = details.api_prov_funcs.unwrap_or_default();
    let address = held.address.clone();
    let mut replaced = Vec::new();
    for (index, (function, request)) in held.functions_mut().zip(requests).enumerate() {
        let role = role(index);
        let private_key = keystore
            .key(&request.key)?
            .ok_or_else(|| super::damaged(keystore, "a private key is missing"))?;
        let certificate_pem = answered
            .iter()
            .find(|answered| {
                answered.api_prov_func_id.as_ref() == Some(&function.id)
                    && answered.api_prov_func_role == role
            })
            .and_then(|answered| answered.reg_info.api_prov_cert.clone())
            .ok_or_else(|| {
                answer.unusable(format!("it holds no certificate of {role} {}", function.id))
            })?;
        private_key
            .check(&certificate_pem, function.id.as_str(), now)
            .map_err(|reason| Error::WrongCertificate {
                address: address.clone(),
                who: format!("{role} {}", function.id),
                reason,
            })?;
        function.certificate_pem = certificate_pem;
        replaced.push(std::mem::replace(&mut function.key, request.key.clone()));
    }
    held.renewal = None;
    held.superseded = false;
    held.replaced.append(&mut replaced);
    Ok(held)
}

/// Whether repeating a request that was refused in this way is of no use.
pub(super) fn is_final(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            "the certificate of the API management function is no longer accepted: if it has ended or the provider was \
             removed, register anew with a new bundle in another folder"
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "try again later",
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED | StatusCode::NOT_FOUND => {
            "it does not renew certificates: ask its operator for a new bundle before they end"
        }
        status if status.is_server_error() => {
            "the fault is on its side: try again, and tell its operator if it stays"
        }
        _ => "ask its operator",
    }
}
