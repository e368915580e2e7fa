//! Random values.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::keystore::KeystoreError;

/// A name of 128 random bits in hexadecimal digits, which nobody can guess.
pub(crate) fn id() -> Result<String, KeystoreError> {
    let mut octets = [0; 16];
    SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| KeystoreError::Key("the random number generator failed".to_owned()))?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

/// A period that is up to a tenth shorter or longer, so that those who began together do not stay together.
pub(crate) fn about(period: Duration) -> Duration {
    let mut octet = [128];
    // Without randomness it is the period itself.
    if SystemRandom::new().fill(&mut octet).is_err() {
        return period;
    }
    let [octet] = octet;
    period * 9 / 10 + period * u32::from(octet) / (5 * 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_are_the_same() {
        let (one, other) = (id().unwrap(), id().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn a_period_changes_by_a_tenth_at_most() {
        let period = Duration::from_secs(600);
        let some: Vec<Duration> = (0..64).map(|_| about(period)).collect();
        assert!(
            some.iter()
                .all(|about| (540..=660).contains(&about.as_secs()))
        );
        assert!(some.iter().any(|about| *about != some[0]));
    }
}
