//! Key files that are sealed under a passphrase: encrypted PKCS#8 (RFC 5958 section 3), with scrypt (RFC 7914) and AES-256 in the
//! frame of PBES2 (RFC 8018 section 6.2).
//!
//! A key that is no key pair, such as that of the store's secrets, is put into the same form, under the identifier of what it
//! serves for.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use pkcs8::{
    EncryptedPrivateKeyInfo, LineEnding, ObjectIdentifier, PrivateKeyInfo,
    der::{Decode, SecretDocument, pem::PemLabel},
    pkcs5::{pbes2, scrypt},
    spki::AlgorithmIdentifierRef,
};
use zeroize::Zeroizing;

use super::{CustodyError, Passphrase};
use crate::random::octets;

/// 16 MiB of memory for each try at a passphrase, as much as widespread tools are ready to spend.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
/// Five times over, in the place of more memory.
const SCRYPT_P: u32 = 5;

/// The octets of an AES-256 key.
const KEY_BYTES: usize = 32;

/// `id-aes256-GCM` (RFC 5084 section 3.2).
const AES_256_GCM: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.46");

/// Whether the text of a key file is sealed.
pub(super) fn is_sealed(text: &str) -> bool {
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

/// Seals the text of a key file.
pub(super) fn close(
    text: &str,
    passphrase: &Passphrase,
    file: &str,
) -> Result<Zeroizing<String>, CustodyError> {
    let no_key = |reason: &str| CustodyError::NoKey {
        file: file.to_owned(),
        reason: reason.to_owned(),
    };
    let salt = octets::<16>()?;
    let iv = octets::<16>()?;
    let cost = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P, KEY_BYTES)
        .map_err(|_| no_key("scrypt refused its parameters"))?;
    let frame = pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv)
        .map_err(|_| no_key("PBES2 refused its parameters"))?;
    let seal = |key: PrivateKeyInfo<'_>| {
        key.encrypt_with_params(frame.clone(), passphrase.text())
            .and_then(|sealed| {
                Ok(sealed.to_pem(EncryptedPrivateKeyInfo::PEM_LABEL, LineEnding::LF)?)
            })
            .map_err(|_| no_key("it cannot be sealed"))
    };
    if text.contains("-----BEGIN") {
        let (label, document) =
            SecretDocument::from_pem(text).map_err(|_| no_key("its PEM is malformed"))?;
        if label != PrivateKeyInfo::PEM_LABEL {
            return Err(no_key("it is not a PKCS#8 `PRIVATE KEY`"));
        }
        let key = PrivateKeyInfo::from_der(document.as_bytes())
            .map_err(|_| no_key("it is not a PKCS#8 `PRIVATE KEY`"))?;
        seal(key)
    } else {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(text.trim_end(), key.as_mut_slice());
        if length != Ok(KEY_BYTES) {
            return Err(no_key("it is neither PEM nor 32 octets in base64url"));
        }
        let algorithm = AlgorithmIdentifierRef {
            oid: AES_256_GCM,
            parameters: None,
        };
        seal(PrivateKeyInfo::new(algorithm, key.as_slice()))
    }
}

/// Opens what [`close`] sealed, and gives the text of the file before; nothing when it was another passphrase.
pub(super) fn open(text: &str, passphrase: &Passphrase) -> Option<Zeroizing<String>> {
    let (label, sealed) = SecretDocument::from_pem(text).ok()?;
    if label != EncryptedPrivateKeyInfo::PEM_LABEL {
        return None;
    }
    let opened = EncryptedPrivateKeyInfo::from_der(sealed.as_bytes())
        .ok()?
        .decrypt(passphrase.text())
        .ok()?;
    // With a wrong passphrase the padding may look right by chance; what is inside does not.
    let key = PrivateKeyInfo::from_der(opened.as_bytes()).ok()?;
    if key.algorithm.oid == AES_256_GCM {
        let octets: &[u8; KEY_BYTES] = key.private_key.try_into().ok()?;
        let text = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(octets));
        return Some(Zeroizing::new(format!("{}\n", text.as_str())));
    }
    opened
        .to_pem(PrivateKeyInfo::PEM_LABEL, LineEnding::LF)
        .ok()
}
