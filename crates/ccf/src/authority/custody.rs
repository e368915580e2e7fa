//! Custody of the private keys: how they lie in the CCF's folder, and how they are read and written.
//!
//! A key file holds one of three things: the key itself (PKCS#8, for its owner alone to read), the key sealed under a passphrase
//! (encrypted PKCS#8, RFC 5958 section 3, with PBES2 of scrypt and AES-256, which other tools can open too), or the name of a key
//! that lies in a PKCS#11 token and never leaves it (RFC 7512). Whoever reads a key file says nothing of which it is.
//!
//! The passphrase comes from a file or from systemd, never from an argument or from the value of an environment variable, which
//! others on the machine can see.

mod passphrase;
mod sealed;
mod sealing;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use zeroize::Zeroizing;

pub use self::{passphrase::Passphrase, sealing::seal};
use super::pkcs11::{self, Token, TokenKey};
use crate::{config::CustodySection, init, random::NoRandomness};

/// The longest key file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Keys cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// A file is missing, or cannot be read or written.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file with a secret is open to others.
    #[error(
        "{file} can be read by others (mode {mode:o}): make new keys, or `chmod 600` it if nobody did"
    )]
    Exposed {
        /// The file.
        file: String,
        /// Its mode.
        mode: u32,
    },
    /// A key is sealed and nobody said how to open it.
    #[error(
        "{0} is sealed: name the file with its passphrase in `[custody] passphrase_file`, or hand it over as the systemd credential `{credential}`",
        credential = passphrase::CREDENTIAL
    )]
    Sealed(String),
    /// A key is sealed under another passphrase, or damaged.
    #[error(
        "{0} does not open with this passphrase: it was sealed with another one, or is damaged"
    )]
    Passphrase(String),
    /// A passphrase is given and a key lies open all the same.
    #[error(
        "{0} is not sealed, though a passphrase is configured: run `capif ca seal --passphrase-file FILE`"
    )]
    Open(String),
    /// The passphrase cannot be used.
    #[error("{0}")]
    Unfit(String),
    /// What a file holds is no key.
    #[error("{file} holds no private key that can be used ({reason}): restore it")]
    NoKey {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// A key lies in a token and none is configured.
    #[error("the key of {0} lies in a PKCS#11 token: name it with the pkcs11 keys of `[custody]`")]
    NoToken(String),
    /// A key lies in a token and what wants it needs it in memory.
    #[error("the key of {0} lies in a PKCS#11 token, where only the issuing authority's may lie")]
    InToken(String),
    /// The token does not do what it should.
    #[error(transparent)]
    Token(#[from] pkcs11::TokenError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// How the keys of one CCF are kept.
#[derive(Clone, Debug, Default)]
pub struct Custody {
    passphrase: Option<Passphrase>,
    token: Option<Arc<Token>>,
}

impl Custody {
    /// Takes the passphrase from where the configuration or systemd says, and gets to know the token. The token is not used yet.
    ///
    /// # Errors
    /// When the passphrase is not to be had.
    pub fn open(section: &CustodySection) -> Result<Self, CustodyError> {
        let passphrase = if section.passphrase_file.as_os_str().is_empty() {
            Passphrase::from_systemd(std::env::var_os(passphrase::CREDENTIALS).map(PathBuf::from))?
        } else {
            Some(Passphrase::read(&section.passphrase_file)?)
        };
        let token = section.has_token().then(|| {
            Arc::new(Token::new(
                &section.pkcs11_module,
                &section.pkcs11_token,
                &section.pkcs11_pin_file,
            ))
        });
        Ok(Self { passphrase, token })
    }

    /// Reads a key that signs certificates, wherever it lies.
    ///
    /// # Errors
    /// When it is not there, not to be opened, or no key.
    pub fn load(&self, dir: &Path, file: &str) -> Result<AuthorityKey, CustodyError> {
        let text = private_text(&dir.join(file))?;
        if pkcs11::is_reference(&text) {
            let token = self.token.as_ref();
            let token = token.ok_or_else(|| CustodyError::NoToken(shown(dir, file)))?;
            return Ok(AuthorityKey::Token(TokenKey::find(token, text.trim())?));
        }
        let text = self.opened(dir, file, text)?;
        AuthorityKey::from_pem(&text).map_err(|reason| CustodyError::NoKey {
            file: shown(dir, file),
            reason,
        })
    }

    /// Reads a key that must be had itself, as its file would hold it unsealed.
    ///
    /// # Errors
    /// When it is not there or not to be opened.
    pub fn read(&self, dir: &Path, file: &str) -> Result<Zeroizing<String>, CustodyError> {
        let text = private_text(&dir.join(file))?;
        if pkcs11::is_reference(&text) {
            return Err(CustodyError::InToken(shown(dir, file)));
        }
        self.opened(dir, file, text)
    }

    /// Takes the key of a signer from a file that somebody else made, sealed with the passphrase of this custody or not at all.
    /// Returns what is to be written to keep it, too.
    ///
    /// # Errors
    /// When it is not there, not to be opened, or no key.
    pub(crate) fn take(
        &self,
        path: &Path,
    ) -> Result<(AuthorityKey, Zeroizing<String>), CustodyError> {
        let shown = path.display().to_string();
        let text = private_text(path)?;
        if pkcs11::is_reference(&text) {
            let token = self.token.as_ref();
            let token = token.ok_or(CustodyError::NoToken(shown))?;
            let key = AuthorityKey::Token(TokenKey::find(token, text.trim())?);
            return Ok((key, text));
        }
        let text = match (sealed::is_sealed(&text), &self.passphrase) {
            (true, Some(passphrase)) => sealed::open(&text, passphrase)
                .ok_or_else(|| CustodyError::Passphrase(shown.clone()))?,
            (true, None) => return Err(CustodyError::Sealed(shown)),
            (false, _) => text,
        };
        let no_key = |reason| CustodyError::NoKey {
            file: shown,
            reason,
        };
        if !text.contains("-----BEGIN PRIVATE KEY-----") {
            return Err(no_key(
                "it is not PKCS#8; `openssl pkcs8 -topk8 -nocrypt` makes it so".to_owned(),
            ));
        }
        match AuthorityKey::from_pem(&text) {
            Ok(key) => Ok((key, text)),
            Err(reason) => Err(no_key(reason)),
        }
    }

    /// Writes a key file, sealed if there is a passphrase, whole or not at all. What names a key in a token is written as it is.
    ///
    /// # Errors
    /// When it cannot be sealed or written.
    pub fn write(&self, dir: &Path, file: &str, text: &str) -> Result<(), CustodyError> {
        match &self.passphrase {
            Some(passphrase) if !pkcs11::is_reference(text) => {
                let sealed = sealed::close(text, passphrase, &shown(dir, file))?;
                put(&dir.join(file), &sealed)
            }
            _ => put(&dir.join(file), text),
        }
    }

    /// Makes a P-256 key in a file, whether or not there is a token.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn make(&self, dir: &Path, file: &str) -> Result<AuthorityKey, CustodyError> {
        let unusable = |error: rcgen::Error| CustodyError::NoKey {
            file: shown(dir, file),
            reason: error.to_string(),
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unusable)?;
        self.write(dir, file, &Zeroizing::new(key.serialize_pem()))?;
        Ok(AuthorityKey::File(Box::new(key)))
    }

    /// Makes the P-256 key of an issuing authority: inside the token, if there is one, so that the file holds but its name.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn make_issuing(&self, dir: &Path, file: &str) -> Result<AuthorityKey, CustodyError> {
        let Some(token) = &self.token else {
            return self.make(dir, file);
        };
        let key = TokenKey::make(token)?;
        put(&dir.join(file), &format!("{}\n", key.reference()))?;
        Ok(AuthorityKey::Token(key))
    }

    /// Forgets a key: takes it out of the token, if it lies there, and removes the file. Twice does no harm.
    ///
    /// # Errors
    /// When the token or the file cannot be changed.
    pub fn erase(&self, dir: &Path, file: &str) -> Result<(), CustodyError> {
        let path = dir.join(file);
        if !path.exists() {
            return Ok(());
        }
        let text = private_text(&path)?;
        if pkcs11::is_reference(&text) {
            let token = self.token.as_ref();
            let token = token.ok_or_else(|| CustodyError::NoToken(shown(dir, file)))?;
            token.erase(text.trim())?;
        }
        fs::remove_file(&path)
            .and_then(|()| settle(&path))
            .map_err(failed(&path))
    }

    fn opened(
        &self,
        dir: &Path,
        file: &str,
        text: Zeroizing<String>,
    ) -> Result<Zeroizing<String>, CustodyError> {
        match (sealed::is_sealed(&text), &self.passphrase) {
            (true, Some(passphrase)) => sealed::open(&text, passphrase)
                .ok_or_else(|| CustodyError::Passphrase(shown(dir, file))),
            (true, None) => Err(CustodyError::Sealed(shown(dir, file))),
            (false, Some(_)) => Err(CustodyError::Open(shown(dir, file))),
            (false, None) => Ok(text),
        }
    }
}

/// A private key that signs certificates, revocation lists and responses.
pub enum AuthorityKey {
    /// It was read from a file.
    File(Box<KeyPair>),
    /// It lies in a token.
    Token(TokenKey),
}

impl AuthorityKey {
    /// Reads the text of an unsealed key file.
    pub(crate) fn from_pem(text: &str) -> Result<Self, String> {
        KeyPair::from_pem(text)
            .map(|key| Self::File(Box::new(key)))
            .map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthorityKey([redacted])")
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::File(key) => key.der_bytes(),
            Self::Token(key) => key.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::File(key) => PublicKeyData::algorithm(key.as_ref()),
            Self::Token(key) => key.algorithm(),
        }
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::File(key) => key.sign(message),
            Self::Token(key) => key.sign(message),
        }
    }
}

/// Reads a file with a secret, unless others can read it too (P-46).
fn private_text(path: &Path) -> Result<Zeroizing<String>, CustodyError> {
    let metadata = fs::metadata(path).map_err(failed(path))?;
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(CustodyError::Exposed {
            file: path.display().to_string(),
            mode: mode & 0o777,
        });
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(CustodyError::NoKey {
            file: path.display().to_string(),
            reason: "it is longer than any key could be".to_owned(),
        });
    }
    fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(failed(path))
}

/// Writes a file for its owner alone, whole or not at all.
fn put(path: &Path, text: &str) -> Result<(), CustodyError> {
    let whole = beside(path, ".new");
    init::write(&whole, text, 0o600)
        .and_then(|()| fs::rename(&whole, path))
        .and_then(|()| settle(path))
        .map_err(failed(path))
}

/// The name of a file with something behind it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Makes sure that a renamed or removed file stays so.
fn settle(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CustodyError {
    let file = path.display().to_string();
    |source| CustodyError::File { file, source }
}

fn shown(dir: &Path, file: &str) -> String {
    dir.join(file).display().to_string()
}
