//! What this product adds to schemas of the standard, in members under its vendor name (TS 29.222 clause 7.11, TS 29.500
//! clause 6.6.3).
//!
//! Members within the vendor's that are not named here are left alone, so that later versions can add some; those that are
//! named must have one of their values.

mod enrolment;

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    checked::Violation,
    common::Extra,
    json::{self, present},
    publish_service::InterfaceDescription,
    security::SecurityInformation,
};

pub use self::enrolment::{EnrolmentTerms, NotAName, RENEWAL, RenewalTerms, RequestName};

/// The member.
pub const MEMBER: &str = "vendorSpecific-capif";

/// Declares a closed enumeration of this product's own.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident, $expected:literal {
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        impl $name {
            /// The word that stands for it on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = NotAWord;

            fn from_str(text: &str) -> Result<Self, NotAWord> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(NotAWord { expected: $expected }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                json::from_text(deserializer, |text| text.parse().map_err(|error: NotAWord| error.expected))
            }
        }
    };
}

/// A text is not among the words of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct NotAWord {
    /// The words.
    pub expected: &'static str,
}

words! {
    /// What stands for secret and id of the CAPIF-1e session when AEF_PSK is derived (TS 33.122 clause A.1).
    pub enum PskProfile, "`a1-exporter` or `a1-tls12`" {
        /// Two values that the session exports (RFC 8446 section 7.5, RFC 5705).
        #[default]
        A1Exporter = "a1-exporter",
        /// Master secret and session id of a full TLS 1.2 handshake, as clause A.1 has it.
        A1Tls12 = "a1-tls12",
    }
}

words! {
    /// When an invoker asks for access (TS 33.122 clause 6.3).
    pub enum AccessScenario, "`before-invocation` or `at-invocation`" {
        /// Ahead of its calls: whatever is needed can be set up.
        #[default]
        BeforeInvocation = "before-invocation",
        /// With each call: what the call needs comes along.
        AtInvocation = "at-invocation",
    }
}

words! {
    /// The one version of TLS in which an interface takes pre-shared keys.
    pub enum PskTls, "`1.2` or `1.3`" {
        /// TLS 1.2 (RFC 4279).
        Tls12 = "1.2",
        /// TLS 1.3 (RFC 8446 section 2.2).
        #[default]
        Tls13 = "1.3",
    }
}

/// What an invoker adds to an entry of its security method request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MethodTerms {
    /// How it wants AEF_PSK to be derived; any way will do if absent.
    #[serde(deserialize_with = "present")]
    pub psk_profile: Option<PskProfile>,
    /// When it wants access.
    pub access_scenario: AccessScenario,
}

impl MethodTerms {
    /// Reads the terms of an entry.
    ///
    /// # Errors
    /// Names the member that has none of its values.
    pub fn of(entry: &SecurityInformation) -> Result<Self, Violation> {
        read(&entry.extra)
    }
}

/// What a publisher adds to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InterfaceTerms {
    /// The version of TLS in which it takes pre-shared keys.
    pub psk_tls: PskTls,
    /// Whether it takes access tokens over mutual TLS alone (TS 33.122 clause 6.5.2.3).
    pub oauth_mutual_tls: bool,
}

impl InterfaceTerms {
    /// Reads the terms of an interface.
    ///
    /// # Errors
    /// Names the member that has none of its values.
    pub fn of(interface: &InterfaceDescription) -> Result<Self, Violation> {
        read(&interface.extra)
    }
}

fn read<T: DeserializeOwned + Default>(extra: &Extra) -> Result<T, Violation> {
    let Some(value) = extra.get(MEMBER) else {
        return Ok(T::default());
    };
    // A list would be read as a structure's members in order.
    if !value.is_object() {
        return Err(Violation::new(
            format!("/{MEMBER}"),
            format!("`{MEMBER}` is an object"),
        ));
    }
    json::from_value(value.clone())
        .map_err(|error| Violation::new(format!("/{MEMBER}{}", error.pointer), error.reason))
}

#[cfg(test)]
mod tests;
