//! What a provider keeps between two runs.

use capif_spec::common::{ApiProviderDomainId, ApiProviderFunctionId};
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    invoker,
    keystore::{Keystore, Locked},
};

const NAME: &str = "provider";

/// How far a registration has come.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// A request was made out; whether an answer came is not known.
    Pending(Pending),
    /// The CAPIF core function has taken the domain in.
    Registered(Box<Registered>),
}

/// What is needed to repeat a request word for word.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pending {
    pub(super) address: String,
    pub(super) hosts: Vec<String>,
    /// AMF, APF, then the AEFs.
    pub(super) functions: Vec<Requested>,
}

/// A function that is to be certified.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Requested {
    pub(super) name: String,
    /// The name of its private key in the keystore.
    pub(super) key: String,
    pub(super) certificate_request: String,
}

/// A registered domain.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registered {
    pub(super) address: String,
    pub(super) anchors_pem: String,
    pub(super) domain_id: ApiProviderDomainId,
    pub(super) domain_name: String,
    pub(super) hosts: Vec<String>,
    pub(super) amf: Certified,
    pub(super) apf: Certified,
    pub(super) aefs: Vec<Certified>,
}

/// A function with its certificate.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Certified {
    pub(super) id: ApiProviderFunctionId,
    pub(super) name: String,
    pub(super) key: String,
    pub(super) certificate_pem: String,
}

impl State {
    pub(super) fn load(keystore: &Keystore) -> Result<Option<Self>, Error> {
        Ok(keystore.load(NAME)?)
    }

    pub(super) fn store(&self, keystore: &Locked) -> Result<(), Error> {
        Ok(keystore.store(NAME, self)?)
    }
}

/// An invoker and a provider do not share a folder: leaving as one would erase the other.
pub(crate) fn refuse_shared_folder(keystore: &Keystore) -> Result<(), Error> {
    refuse(keystore, NAME)
}

pub(super) fn refuse_folder_of_invoker(keystore: &Keystore) -> Result<(), Error> {
    refuse(keystore, invoker::NAME)
}

fn refuse(keystore: &Keystore, other: &str) -> Result<(), Error> {
    if keystore.load::<serde_json::Value>(other)?.is_some() {
        return Err(Error::Usage(format!(
            "`{}` belongs to an API {other}: use another folder",
            keystore.folder().display()
        )));
    }
    Ok(())
}
