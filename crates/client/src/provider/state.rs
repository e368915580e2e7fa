//! What a provider keeps between two runs.

use capif_spec::common::{ApiProviderDomainId, ApiProviderFunctionId};
use serde::{Deserialize, Serialize};

use crate::{
    address::Address,
    error::Error,
    invoker,
    keystore::{Keystore, Locked, Version},
    whereabouts::remember,
};

/// The name of the state in the keystore.
pub(super) const NAME: &str = "provider";

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
    /// Where the core function was before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) former_addresses: Vec<String>,
    pub(super) anchors_pem: String,
    pub(super) domain_id: ApiProviderDomainId,
    pub(super) domain_name: String,
    pub(super) hosts: Vec<String>,
    pub(super) amf: Certified,
    pub(super) apf: Certified,
    pub(super) aefs: Vec<Certified>,
    /// Keys of authorities that are not believed: SHA-256, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) distrusted: Vec<String>,
    /// A renewal that was asked for; whether an answer came is not known. AMF, APF, then the AEFs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) renewal: Option<Vec<Requested>>,
    /// How often a renewal was begun, so that every key has a name of its own.
    #[serde(default)]
    pub(super) renewals: u64,
    /// The names of private keys that are of no use once the certificates in their place have been used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) replaced: Vec<String>,
    /// Whether somebody else has the certificates, outside of this folder: they are not taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) superseded: bool,
}

impl Registered {
    /// Whether the core function is reached by this address, or was.
    pub(super) fn is_at(&self, address: &str) -> bool {
        let mut all = std::iter::once(&self.address).chain(&self.former_addresses);
        all.any(|known| known == address)
    }

    /// The core function is elsewhere for good.
    pub(super) fn move_to(&mut self, address: &Address) {
        remember(&mut self.address, &mut self.former_addresses, address);
    }

    /// The functions: AMF, APF, then the AEFs.
    pub(super) fn functions(&self) -> impl Iterator<Item = &Certified> {
        [&self.amf, &self.apf].into_iter().chain(&self.aefs)
    }

    pub(super) fn functions_mut(&mut self) -> impl Iterator<Item = &mut Certified> {
        [&mut self.amf, &mut self.apf]
            .into_iter()
            .chain(&mut self.aefs)
    }

    /// Erases the private keys in the folder that nothing needs: a renewal, or a crash in the middle of one, has left them.
    pub(super) fn clear_keys(&self, keystore: &Locked) -> Result<(), Error> {
        let in_use = self.functions().map(|function| &function.key);
        let asked = self.renewal.iter().flatten().map(|asked| &asked.key);
        let needed: Vec<&String> = in_use.chain(asked).chain(&self.replaced).collect();
        for key in keystore.keys()? {
            if !needed.contains(&&key) {
                keystore.erase_key(&key)?;
            }
        }
        Ok(())
    }

    pub(super) fn store(&self, keystore: &Locked) -> Result<(), Error> {
        State::Registered(Box::new(self.clone())).store(keystore)
    }
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

/// The registration in a folder, with its version.
pub(super) fn registered(keystore: &Keystore) -> Result<(Registered, Option<Version>), Error> {
    // Of two versions the older one is named: whoever compares again looks once too often, and misses nothing.
    let version = keystore.version(NAME)?;
    match State::load(keystore)? {
        Some(State::Registered(held)) => Ok((*held, version)),
        Some(State::Pending(_)) => Err(Error::NotEnrolled {
            who: "API provider",
            next: "the last attempt got no answer: register again with the same bundle",
        }),
        None => Err(Error::NotEnrolled {
            who: "API provider",
            next: "register with a bundle, which the operator gives out",
        }),
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
