//! Identifiers. Each has a type of its own, so that mixing two does not compile. Copies share one text.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Reads a text without making a copy that is not kept.
struct Text;

impl de::Visitor<'_> for Text {
    type Value = Arc<str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Arc<str>, E> {
        Ok(text.into())
    }
}

macro_rules! identifier {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, shared.
            #[must_use]
            pub fn share(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
    };
}

identifier!(
    /// An API invoker, as the CCF named it at onboarding (TS 29.222 clause 8.4.4.2.2).
    ApiInvokerId
);
identifier!(
    /// An API exposing function.
    AefId
);
identifier!(
    /// An API publishing function.
    ApfId
);
identifier!(
    /// An API management function.
    AmfId
);
identifier!(
    /// A published service API, as the CCF named it at publication (TS 29.222 clause 8.2.4.2.2).
    ServiceApiId
);
identifier!(
    /// An API provider domain, as the CCF named it at registration (TS 29.222 clause 8.9.4.2.2).
    ApiProviderDomainId
);
identifier!(
    /// Any function of an API provider domain: an AEF, APF or AMF (TS 29.222 clause 8.9.4.2.3).
    ApiProviderFunctionId
);
identifier!(
    /// An event subscription (TS 29.222 clause 8.3.4.2.3).
    SubscriptionId
);
identifier!(
    /// A URI in the text that was received (RFC 3986); nothing is checked or normalised here.
    Uri
);
