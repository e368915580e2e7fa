//! The passphrase: one line in a file that only its owner can read, or a credential that systemd hands over.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{CustodyError, failed, private_text};

/// The variable in which systemd names the folder with the credentials of a service.
pub(super) const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The name of the credential.
pub(super) const CREDENTIAL: &str = "capif-passphrase";

/// The shortest passphrase that something is sealed with.
const CHARACTERS_MIN: usize = 12;

/// What the key files are sealed with.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase([redacted])")
    }
}

impl Passphrase {
    /// Reads it from a file.
    ///
    /// # Errors
    /// When the file is not there, others can read it, or it is not one line of text.
    pub fn read(path: &Path) -> Result<Self, CustodyError> {
        Self::from_text(&private_text(path)?, path)
    }

    /// Reads a passphrase that something shall be sealed with.
    ///
    /// # Errors
    /// As [`Passphrase::read`]; and when it is too short.
    pub fn read_new(path: &Path) -> Result<Self, CustodyError> {
        let passphrase = Self::read(path)?;
        if passphrase.0.chars().count() < CHARACTERS_MIN {
            return Err(CustodyError::Unfit(format!(
                "{}: a passphrase needs at least {CHARACTERS_MIN} characters; `openssl rand -base64 32` makes a good one",
                path.display()
            )));
        }
        Ok(passphrase)
    }

    /// Takes the credential from the folder that systemd made; nothing when there is none. Who may read it is systemd's care.
    pub(super) fn from_systemd(folder: Option<PathBuf>) -> Result<Option<Self>, CustodyError> {
        let Some(path) = folder.map(|folder| folder.join(CREDENTIAL)) else {
            return Ok(None);
        };
        match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => Self::from_text(&text, &path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    fn from_text(text: &str, path: &Path) -> Result<Self, CustodyError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.contains(['\n', '\r', '\0']) {
            return Err(CustodyError::Unfit(format!(
                "{}: write the passphrase as one line of text",
                path.display()
            )));
        }
        Ok(Self(Zeroizing::new(line.to_owned())))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}
