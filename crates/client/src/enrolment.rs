//! What an API invoker or a provider must hold before it enrols: the address of the CAPIF core function, its root
//! certificate, and a credential (TS 33.122 clause 6.1 step 1).
//!
//! How they travel is left open by the standard. An invoker gets an [`EnrolmentCode`], short enough to be pasted, which
//! names the root certificate by its digest; a provider gets a [`Bundle`], a small file.
//!
//! Choice: both carry a version of their own, and a reader refuses what it does not know, since half-understood
//! enrolment information must not be acted on.

use std::{fmt, str::FromStr};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use capif_spec::common::Redacted;
use capif_transport::{Anchors, SharedClock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{address::Address, ccf, error::Error};

const CODE_PREFIX: &str = "capif1.";
const CODE_BYTES_MAX: usize = 16 << 10;
const BUNDLE_BYTES_MAX: usize = 256 << 10;
const BUNDLE_VERSION: u32 = 1;
const CREDENTIAL_BYTES_MAX: usize = 8 << 10;
const ANCHORS_BYTES_MAX: usize = 128 << 10;
const DOMAIN_NAME_CHARACTERS_MAX: usize = 256;

/// What a provider hands to an invoker: `capif1.` and letters. It holds a credential, so it is as secret as one.
#[derive(Clone, Debug, PartialEq)]
pub struct EnrolmentCode {
    /// Host and port of the CAPIF core function.
    pub address: String,
    /// SHA-256 of the root certificate (DER) to which the CAPIF core function's own must lead.
    pub ca_sha256: [u8; 32],
    /// The onboarding credential.
    pub credential: Redacted,
}

/// The enrolment information of an invoker, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Enrolment {
    /// Host and port of the CAPIF core function.
    pub address: String,
    /// The root certificates as PEM.
    pub anchors_pem: String,
    /// The onboarding credential.
    pub credential: Redacted,
}

/// The file that an operator hands to a provider. It holds a credential, so it is as secret as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// Host and port of the CAPIF core function.
    pub address: String,
    /// The root certificates as PEM.
    pub anchors_pem: String,
    /// The name under which the operator invited the API provider domain.
    pub domain_name: String,
    /// The registration credential.
    pub credential: Redacted,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCode {
    #[serde(rename = "a")]
    address: String,
    #[serde(rename = "f")]
    ca_sha256: String,
    #[serde(rename = "t")]
    credential: Redacted,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenBundle {
    capif_bundle: u32,
    ccf_address: String,
    domain_name: String,
    ca_pem: String,
    credential: Redacted,
}

impl Enrolment {
    /// Completes a code: fetches the root certificate that it names from the CAPIF core function, over a connection whose
    /// certificate leads to that very root.
    ///
    /// # Errors
    /// Says so when the address cannot be reached, or when what answers there is not what the code names.
    pub async fn from_code(code: &EnrolmentCode, clock: SharedClock) -> Result<Self, Error> {
        let address: Address = code.address.parse()?;
        let anchors = capif_transport::anchor_by_fingerprint(
            address.as_str(),
            code.ca_sha256,
            clock,
            ccf::CONNECT_TIMEOUT,
        )
        .await
        .map_err(|error| ccf::failure("the enrolment", &address, ccf::REPEATABLE, error))?;
        Ok(Self {
            address: address.to_string(),
            anchors_pem: anchors.pem(),
            credential: code.credential.clone(),
        })
    }

    /// Takes the three parts as they came, from files for example.
    ///
    /// # Errors
    /// Refuses to do without one of them: each is needed before anything is sent (TS 33.122 clause 6.1 step 1).
    pub fn from_parts(
        address: impl Into<String>,
        anchors_pem: impl Into<String>,
        credential: Redacted,
    ) -> Result<Self, Error> {
        const WHAT: &str = "set of enrolment information";
        let address: Address = present(&address.into(), WHAT, "address")?.parse()?;
        let anchors_pem = anchors_pem.into();
        check_anchors(&anchors_pem, WHAT)?;
        Ok(Self {
            address: address.to_string(),
            anchors_pem,
            credential: check_credential(&credential, WHAT)?,
        })
    }
}

impl FromStr for EnrolmentCode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const WHAT: &str = "enrolment code";
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(malformed(WHAT, "it is empty"));
        }
        if text.len() > CODE_BYTES_MAX {
            return Err(malformed(WHAT, "it is too long"));
        }
        let encoded = text.strip_prefix(CODE_PREFIX).ok_or_else(|| {
            let later = text
                .strip_prefix("capif")
                .and_then(|rest| rest.split_once('.'))
                .is_some_and(|(version, _)| {
                    !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
                });
            if later {
                malformed(WHAT, "it was made for another version of this program")
            } else {
                malformed(WHAT, "it does not begin with `capif1.`")
            }
        })?;
        let octets = BASE64_URL_SAFE_NO_PAD
            .decode(encoded)
            .map(Zeroizing::new)
            .map_err(|_| malformed(WHAT, "it is cut off or mistyped"))?;
        let written: WrittenCode =
            capif_spec::json::from_slice(&octets).map_err(|error| malformed(WHAT, error.reason))?;
        let mut ca_sha256 = [0; 32];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(&written.ca_sha256, &mut ca_sha256);
        if length != Ok(ca_sha256.len()) {
            return Err(malformed(WHAT, "its digest is not one of 32 octets"));
        }
        let address: Address = written.address.parse()?;
        Ok(Self {
            address: address.to_string(),
            ca_sha256,
            credential: check_credential(&written.credential, WHAT)?,
        })
    }
}

/// The code itself, credential included.
impl fmt::Display for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = WrittenCode {
            address: self.address.clone(),
            ca_sha256: BASE64_URL_SAFE_NO_PAD.encode(self.ca_sha256),
            credential: self.credential.clone(),
        };
        let octets = serde_json::to_vec(&written)
            .map(Zeroizing::new)
            .map_err(|_| fmt::Error)?;
        write!(
            f,
            "{CODE_PREFIX}{}",
            base64::display::Base64Display::new(&octets, &BASE64_URL_SAFE_NO_PAD)
        )
    }
}

impl Bundle {
    /// Reads a bundle file.
    ///
    /// # Errors
    /// Refuses what is not a bundle of a version that is known here, with every part in it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        const WHAT: &str = "provider bundle";
        if text.trim_ascii().is_empty() {
            return Err(malformed(WHAT, "it is empty"));
        }
        if text.len() > BUNDLE_BYTES_MAX {
            return Err(malformed(WHAT, "it is too long"));
        }
        let written: WrittenBundle = capif_spec::json::from_slice(text.as_bytes())
            .map_err(|error| malformed(WHAT, error.reason))?;
        if written.capif_bundle != BUNDLE_VERSION {
            return Err(malformed(
                WHAT,
                "it was made for another version of this program",
            ));
        }
        let address: Address = present(&written.ccf_address, WHAT, "ccfAddress")?.parse()?;
        check_anchors(&written.ca_pem, WHAT)?;
        let domain_name = present(&written.domain_name, WHAT, "domainName")?;
        if domain_name.chars().count() > DOMAIN_NAME_CHARACTERS_MAX
            || domain_name.chars().any(char::is_control)
        {
            return Err(malformed(
                WHAT,
                "`domainName` is too long or holds control characters",
            ));
        }
        Ok(Self {
            address: address.to_string(),
            domain_name: domain_name.to_owned(),
            credential: check_credential(&written.credential, WHAT)?,
            anchors_pem: written.ca_pem,
        })
    }
}

impl FromStr for Bundle {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// The file's content, credential included.
impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = WrittenBundle {
            capif_bundle: BUNDLE_VERSION,
            ccf_address: self.address.clone(),
            domain_name: self.domain_name.clone(),
            ca_pem: self.anchors_pem.clone(),
            credential: self.credential.clone(),
        };
        let text = serde_json::to_string_pretty(&written)
            .map(Zeroizing::new)
            .map_err(|_| fmt::Error)?;
        writeln!(f, "{}", *text)
    }
}

fn present<'a>(value: &'a str, what: &'static str, part: &str) -> Result<&'a str, Error> {
    let value = value.trim_ascii();
    if value.is_empty() {
        return Err(malformed(what, format!("its {part} is missing")));
    }
    Ok(value)
}

fn check_anchors(pem: &str, what: &'static str) -> Result<(), Error> {
    present(pem, what, "root certificate")?;
    if pem.len() > ANCHORS_BYTES_MAX {
        return Err(malformed(what, "its root certificate is too long"));
    }
    let only_certificates = pem::parse_many(pem).is_ok_and(|parts| {
        !parts.is_empty() && parts.iter().all(|part| part.tag() == "CERTIFICATE")
    });
    if !only_certificates || Anchors::from_pem(pem).is_err() {
        return Err(malformed(
            what,
            "its root certificate is not a certificate in PEM form",
        ));
    }
    Ok(())
}

/// A credential travels in an `Authorization` header, so it is made of what may stand there (RFC 6750 section 2.1).
fn check_credential(credential: &Redacted, what: &'static str) -> Result<Redacted, Error> {
    let text = present(credential.expose(), what, "credential")?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if text.len() > CREDENTIAL_BYTES_MAX || !text.bytes().all(token) {
        return Err(malformed(
            what,
            "its credential is too long or holds characters that cannot be sent",
        ));
    }
    Ok(Redacted::from(text))
}

fn malformed(what: &'static str, reason: impl Into<String>) -> Error {
    Error::Malformed {
        what,
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
