//! Secrets at rest that must be had back: AEF_PSKs lie in the store sealed under a key that lies outside of it (P-11).
//!
//! AES-256-GCM with a nonce drawn for each secret; what the secret is for is authenticated along with it, so that one sealed
//! secret cannot be put in another's place. A copy of the store alone opens nothing. Whoever loses or changes the key loses the
//! secrets with it, and nothing else: invokers negotiate anew.

use std::{fs, io, path::Path};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{
    authority::{AuthorityError, custody::Custody},
    random::{self, NoRandomness},
};

/// The name of the file within the CCF's folder.
pub const FILE: &str = "keys/sealing.key";

/// The length of the key, in octets.
const KEY_BYTES: usize = 32;

/// The length of a nonce, in octets.
const NONCE_BYTES: usize = 12;

/// The length of what proves that nothing was changed, in octets.
const TAG_BYTES: usize = 16;

/// Makes a key, as the text of its file.
pub(crate) fn create() -> Result<Zeroizing<String>, NoRandomness> {
    let key = Zeroizing::new(random::octets::<KEY_BYTES>()?);
    Ok(Zeroizing::new(format!(
        "{}\n",
        BASE64_URL_SAFE_NO_PAD.encode(key.as_slice())
    )))
}

/// What seals and opens.
pub(crate) struct SealingKey(RandomizedNonceKey);

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey([redacted])")
    }
}

impl SealingKey {
    /// Reads the key from the CCF's folder; makes one if there is none, as in a folder of an earlier version.
    ///
    /// # Errors
    /// When the file is there and no key, or others can read it, or it cannot be made.
    pub(crate) fn load(dir: &Path, custody: &Custody) -> Result<Self, AuthorityError> {
        let path = dir.join(FILE);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Whole or not at all: half a key would stop every later start.
                custody.write(dir, FILE, &create()?)?;
                tracing::info!(file = %path.display(), "made a key to seal AEF_PSKs with");
            }
            _ => {}
        }
        Self::from_text(&custody.read(dir, FILE)?)
    }

    fn from_text(text: &str) -> Result<Self, AuthorityError> {
        let unusable = || {
            AuthorityError::Material(format!(
                "{FILE} is not a key of {KEY_BYTES} octets in base64url: restore it, or move it away to have a new one made"
            ))
        };
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let length = BASE64_URL_SAFE_NO_PAD
            .decode_slice(text.trim_end(), key.as_mut_slice())
            .map_err(|_| unusable())?;
        if length != KEY_BYTES {
            return Err(unusable());
        }
        RandomizedNonceKey::new(&AES_256_GCM, key.as_slice())
            .map(Self)
            .map_err(|_| unusable())
    }

    /// Seals a secret for a purpose.
    pub(crate) fn seal(&self, secret: &[u8; 32], purpose: &str) -> Option<String> {
        self.seal_octets(secret, purpose)
    }

    /// The same for a secret of any length.
    pub(crate) fn seal_octets(&self, secret: &[u8], purpose: &str) -> Option<String> {
        let mut sealed = Zeroizing::new(Vec::with_capacity(secret.len() + TAG_BYTES));
        sealed.extend_from_slice(secret);
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut *sealed)
            .ok()?;
        let whole = [nonce.as_ref().as_slice(), sealed.as_slice()].concat();
        Some(BASE64_URL_SAFE_NO_PAD.encode(whole))
    }

    /// Opens what was sealed for the same purpose; nothing when it was not, or under another key.
    pub(crate) fn open(&self, sealed: &str, purpose: &str) -> Option<Zeroizing<[u8; 32]>> {
        let secret = self.open_octets(sealed, purpose)?;
        let mut opened = Zeroizing::new([0; 32]);
        if secret.len() != opened.len() {
            return None;
        }
        opened.copy_from_slice(&secret);
        Some(opened)
    }

    /// The same for a secret of any length.
    pub(crate) fn open_octets(&self, sealed: &str, purpose: &str) -> Option<Zeroizing<Vec<u8>>> {
        let whole = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = whole.split_at_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut sealed)
            .ok()?
            .len();
        sealed.truncate(length);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("keys")).unwrap();
        dir
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_alone() {
        let key = SealingKey::from_text(&create().unwrap()).unwrap();
        let sealed = key.seal(&[7; 32], "one").unwrap();
        assert_eq!(*key.open(&sealed, "one").unwrap(), [7; 32]);
        assert!(key.open(&sealed, "other").is_none());
        assert!(key.open(&sealed, "").is_none());
        assert_ne!(sealed, key.seal(&[7; 32], "one").unwrap());
        let another = SealingKey::from_text(&create().unwrap()).unwrap();
        assert!(another.open(&sealed, "one").is_none());
        assert_eq!(format!("{key:?}"), "SealingKey([redacted])");
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let key = SealingKey::from_text(&create().unwrap()).unwrap();
        let sealed = key.seal(&[7; 32], "one").unwrap();
        let octets = BASE64_URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        assert_eq!(octets.len(), NONCE_BYTES + 32 + TAG_BYTES);
        for place in 0..octets.len() {
            let mut changed = octets.clone();
            changed[place] ^= 1;
            let changed = BASE64_URL_SAFE_NO_PAD.encode(changed);
            assert!(key.open(&changed, "one").is_none(), "octet {place}");
        }
        let cut = BASE64_URL_SAFE_NO_PAD.encode(&octets[..octets.len() - 1]);
        for text in ["", "A", "AAAA", "!", &cut, &format!("{sealed}=")] {
            assert!(key.open(text, "one").is_none(), "{text}");
        }
    }

    #[test]
    fn the_key_is_made_once_and_for_its_owner_alone() {
        let dir = folder();
        let sealed = SealingKey::load(dir.path(), &Custody::default())
            .unwrap()
            .seal(&[7; 32], "one")
            .unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let again = SealingKey::load(dir.path(), &Custody::default()).unwrap();
        assert_eq!(*again.open(&sealed, "one").unwrap(), [7; 32]);
        fs::remove_file(&path).unwrap();
        let another = SealingKey::load(dir.path(), &Custody::default()).unwrap();
        assert!(another.open(&sealed, "one").is_none());
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_stays() {
        let dir = folder();
        let path = dir.path().join(FILE);
        let long = BASE64_URL_SAFE_NO_PAD.encode([0; 33]);
        let short = BASE64_URL_SAFE_NO_PAD.encode([0; 31]);
        for text in ["", "key", &long, &short] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = SealingKey::load(dir.path(), &Custody::default()).unwrap_err();
            assert!(error.to_string().contains(FILE), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, create().unwrap().as_str()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = SealingKey::load(dir.path(), &Custody::default()).unwrap_err();
        assert!(error.to_string().contains("others"), "{error}");
    }
}
