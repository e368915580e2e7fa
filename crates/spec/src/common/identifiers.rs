//! Identifiers. Each has a type of its own, so that mixing two does not compile.

use serde::{Deserialize, Serialize};

macro_rules! identifier {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
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
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
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
