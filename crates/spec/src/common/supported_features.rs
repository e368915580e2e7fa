//! Feature negotiation.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// A set of features as hexadecimal digits: the last digit holds features 1 to 4, the one before it 5 to 8, and so on
/// (TS 29.500 clause 6.6, TS 29.571 table 5.2.2-3).
///
/// Two lists are equal when they hold the same features, however many zeros stand in front.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct SupportedFeatures(String);

impl SupportedFeatures {
    /// The digits as they were received.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether all characters are hexadecimal digits. Always so for a list that was received in JSON.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_valid(&self.0)
    }

    /// Whether feature `bit` is in the list; numbers begin at 1.
    #[must_use]
    pub fn has(&self, bit: u32) -> bool {
        let Some(index) = bit.checked_sub(1) else {
            return false;
        };
        let digit = usize::try_from(index / 4)
            .ok()
            .and_then(|position| self.digits().nth(position));
        digit.is_some_and(|digit| digit & (1 << (index % 4)) != 0)
    }

    /// The features that are in both lists: what a negotiation comes to.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut digits: Vec<char> = self
            .digits()
            .zip(other.digits())
            .filter_map(|(one, two)| char::from_digit(one & two, 16))
            .collect();
        while digits.len() > 1 && digits.last() == Some(&'0') {
            digits.pop();
        }
        if digits.is_empty() {
            digits.push('0');
        }
        Self(digits.into_iter().rev().collect())
    }

    /// The values of the digits, features 1 to 4 first. What is no digit holds no feature.
    fn digits(&self) -> impl Iterator<Item = u32> {
        self.0
            .chars()
            .rev()
            .map(|digit| digit.to_digit(16).unwrap_or(0))
    }
}

fn is_valid(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl PartialEq for SupportedFeatures {
    fn eq(&self, other: &Self) -> bool {
        let length = self.0.len().max(other.0.len());
        let padded = |list: &Self| -> Vec<u32> {
            list.digits()
                .chain(std::iter::repeat(0))
                .take(length)
                .collect()
        };
        padded(self) == padded(other)
    }
}

impl Eq for SupportedFeatures {}

impl fmt::Display for SupportedFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for SupportedFeatures {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for SupportedFeatures {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl<'de> Deserialize<'de> for SupportedFeatures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::from_text(deserializer, |text| {
            if is_valid(text) {
                Ok(Self::from(text))
            } else {
                Err("hexadecimal digits")
            }
        })
    }
}
