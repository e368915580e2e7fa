//! `[custody]`: how the private keys of the core function are kept. Secrets stand in files of their own, never here.

use std::path::PathBuf;

use serde::Deserialize;

/// `[custody]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CustodySection {
    /// A file with the passphrase under which the key files are sealed; none if empty.
    pub passphrase_file: PathBuf,
    /// The PKCS#11 module of the token that holds the issuing key; none if empty.
    pub pkcs11_module: PathBuf,
    /// The label of that token.
    pub pkcs11_token: String,
    /// A file with the PIN of that token.
    pub pkcs11_pin_file: PathBuf,
}

impl CustodySection {
    /// Whether a token is named.
    #[must_use]
    pub fn has_token(&self) -> bool {
        !self.pkcs11_module.as_os_str().is_empty()
    }

    /// Says what is missing.
    pub(crate) fn check(&self) -> Result<(), String> {
        let parts = [
            ("pkcs11_module", self.has_token()),
            ("pkcs11_token", !self.pkcs11_token.is_empty()),
            (
                "pkcs11_pin_file",
                !self.pkcs11_pin_file.as_os_str().is_empty(),
            ),
        ];
        let missing = parts.iter().find(|(_, given)| !given);
        match missing {
            Some((key, _)) if parts.iter().any(|(_, given)| *given) => Err(format!(
                "custody.{key}: a token needs pkcs11_module, pkcs11_token and pkcs11_pin_file; give all three or none"
            )),
            _ => Ok(()),
        }
    }
}
