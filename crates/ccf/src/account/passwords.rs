//! Passwords: kept as Argon2id hashes, and never many hashed at a time, since each takes 19 MiB.

use std::{sync::Arc, time::Duration};

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier, password_hash::SaltString};
use capif_spec::common::Redacted;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::random::{self, NoRandomness};

/// How many are hashed at the same time.
const PARALLEL_MAX: usize = 2;

/// How long one waits for its turn.
const TURN_MAX: Duration = Duration::from_secs(5);

/// The shortest password.
const CHARS_MIN: usize = 8;

/// The longest password, in octets.
const BYTES_MAX: usize = 256;

/// A password was not hashed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// It cannot be one.
    #[error("a password has 8 characters at least, and 256 octets at most")]
    Unfit,
    /// Too many sign in at once.
    #[error("too many sign in at the same time: try again")]
    Busy,
    /// No randomness, or the hash failed.
    #[error("the password could not be hashed")]
    Failed,
}

impl From<NoRandomness> for PasswordError {
    fn from(_: NoRandomness) -> Self {
        Self::Failed
    }
}

/// The right to have a password looked at now.
pub(crate) type Turn = OwnedSemaphorePermit;

/// Hashes and verifies.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// What is verified against where there is no account, so that it takes as long.
    decoy: String,
}

impl Passwords {
    pub(crate) fn new() -> Result<Self, PasswordError> {
        let nobodys = random::secret_text(&*random::secret()?);
        Ok(Self {
            turns: Arc::new(Semaphore::new(PARALLEL_MAX)),
            decoy: hashed(nobodys.expose())?,
        })
    }

    /// A password that nobody knows yet.
    pub(crate) fn random() -> Result<Redacted, NoRandomness> {
        let octets = random::octets::<18>()?;
        let digits = octets.iter().map(|octet| format!("{octet:02x}"));
        Ok(Redacted::from(digits.collect::<String>()))
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: &Redacted) -> Result<String, PasswordError> {
        let text = password.expose();
        if text.chars().count() < CHARS_MIN || text.len() > BYTES_MAX {
            return Err(PasswordError::Unfit);
        }
        let password = password.clone();
        let turn = self.turn().await?;
        let (hash, _turn) = in_turn(turn, move || hashed(password.expose())).await?;
        hash
    }

    /// Whether a password is the one of a hash; without a hash it is none, and takes as long to say. The turn is handed back, so that
    /// it lasts until the outcome is noted.
    pub(crate) async fn verify(
        &self,
        turn: Turn,
        password: &Redacted,
        hash: Option<&str>,
    ) -> Result<(bool, Turn), PasswordError> {
        if password.expose().len() > BYTES_MAX {
            return Ok((false, turn));
        }
        let is_known = hash.is_some();
        let hash = hash.unwrap_or(&self.decoy).to_owned();
        let password = password.clone();
        let (matches, turn) = in_turn(turn, move || {
            let parsed = PasswordHash::new(&hash).map_err(|_| PasswordError::Failed)?;
            let verified = Argon2::default().verify_password(password.expose().as_bytes(), &parsed);
            Ok::<_, PasswordError>(verified.is_ok())
        })
        .await?;
        Ok((matches? && is_known, turn))
    }

    /// Waits until a password may be looked at.
    pub(crate) async fn turn(&self) -> Result<Turn, PasswordError> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(TURN_MAX, turn).await;
        turn.map_err(|_| PasswordError::Busy)?
            .map_err(|_| PasswordError::Busy)
    }
}

/// Works as long as a turn lasts: also when whoever asked for it has gone away, since its memory is taken until the end.
async fn in_turn<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(T, Turn), PasswordError> {
    tokio::task::spawn_blocking(move || (work(), turn))
        .await
        .map_err(|_| PasswordError::Failed)
}

/// Argon2id with 19 MiB and two passes (RFC 9106; what the Open Worldwide Application Security Project asks for at least).
fn hashed(password: &str) -> Result<String, PasswordError> {
    let salt =
        SaltString::encode_b64(&random::octets::<16>()?).map_err(|_| PasswordError::Failed)?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string())
        .map_err(|_| PasswordError::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = Passwords::new().unwrap();
        let right = Redacted::from("correct horse".to_owned());
        let wrong = Redacted::from("correct horsf".to_owned());
        let hash = passwords.hash(&right).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_ne!(
            hash,
            passwords.hash(&right).await.unwrap(),
            "each has its salt"
        );
        let verify = async |password, hash| {
            let turn = passwords.turn().await.unwrap();
            passwords.verify(turn, password, hash).await.unwrap().0
        };
        assert!(verify(&right, Some(hash.as_str())).await);
        assert!(!verify(&wrong, Some(hash.as_str())).await);
        assert!(!verify(&right, None).await);
    }

    #[tokio::test]
    async fn what_is_too_short_or_too_long_is_no_password() {
        let passwords = Passwords::new().unwrap();
        for text in [String::new(), "1234567".to_owned(), "x".repeat(257)] {
            let refused = passwords.hash(&Redacted::from(text)).await;
            assert!(matches!(refused, Err(PasswordError::Unfit)));
        }
        let long = Redacted::from("x".repeat(10_000));
        let turn = passwords.turn().await.unwrap();
        assert!(!passwords.verify(turn, &long, None).await.unwrap().0);
    }

    #[tokio::test]
    async fn who_goes_away_makes_no_room_before_its_hash_is_done() {
        let passwords = Passwords::new().unwrap();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let turn = passwords.turn().await.unwrap();
        let asked = in_turn(turn, move || ended.recv().is_ok());
        let gone = tokio::time::timeout(Duration::ZERO, asked).await;
        assert!(gone.is_err());
        assert_eq!(passwords.turns.available_permits(), PARALLEL_MAX - 1);
        end.send(()).unwrap();
        let all = u32::try_from(PARALLEL_MAX).unwrap();
        let _all = passwords.turns.acquire_many(all).await.unwrap();
    }
}
