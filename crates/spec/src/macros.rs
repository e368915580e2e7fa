//! The two shapes that nearly every schema of the standard has: an open object and an open enumeration.

/// Declares the type of an object schema.
///
/// Written like a struct. Members take the camel case of the field unless `#[serde(rename = …)]` says otherwise; an
/// `Option` member may be absent and is left out when `None`, but `null` is refused, since no schema here allows it
/// except where the member's type itself does (a member that is read in a way of its own says `std::option::Option` and
/// brings its attributes along). `extra` is added: the members that the schema does not name.
macro_rules! object {
    ($(#[$meta:meta])* pub struct $name:ident { $($members:tt)* }) => {
        object!(@members [$(#[$meta])*] $name [] $($members)*);
    };
    (@members $meta:tt $name:ident [$($done:tt)*]
        $(#[$field_meta:meta])* pub $field:ident: Option<$type:ty>, $($rest:tt)*
    ) => {
        object!(@members $meta $name [
            $($done)*
            $(#[$field_meta])*
            #[serde(
                default,
                skip_serializing_if = "Option::is_none",
                deserialize_with = "crate::json::present"
            )]
            pub $field: Option<$type>,
        ] $($rest)*);
    };
    (@members $meta:tt $name:ident [$($done:tt)*]
        $(#[$field_meta:meta])* pub $field:ident: $type:ty, $($rest:tt)*
    ) => {
        object!(@members $meta $name [
            $($done)*
            $(#[$field_meta])*
            pub $field: $type,
        ] $($rest)*);
    };
    (@members [$($meta:tt)*] $name:ident [$($done:tt)*]) => {
        $($meta)*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($done)*
            /// Members that the schema does not name; they are kept as they came.
            #[serde(flatten)]
            pub extra: crate::common::Extra,
        }
    };
}

/// Declares the type of an enumeration schema. All of the standard's are open: a receiver accepts values that it does not
/// know (TS 29.222 annex A), which become `Other`. With `ignoring case`, known values are recognised in any spelling.
macro_rules! open_enumeration {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)*
    }) => {
        open_enumeration!(@build eq [$(#[$meta])*] $name $($(#[$variant_meta])* $variant = $text,)*);
    };
    ($(#[$meta:meta])* pub enum $name:ident ignoring case {
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)*
    }) => {
        open_enumeration!(
            @build eq_ignore_ascii_case [$(#[$meta])*] $name $($(#[$variant_meta])* $variant = $text,)*
        );
    };
    (@build $equal:ident [$($meta:tt)*] $name:ident
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)*
    ) => {
        $($meta)*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
            /// A value that this version of the standard does not name.
            Other(String),
        }

        impl $name {
            /// The values that the standard names, in its order.
            pub const KNOWN: &'static [&'static str] = &[$($text),*];

            /// The value as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $(if $text.$equal(text) { return Self::$variant; })*
                Self::Other(text.to_owned())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::json::from_text(deserializer, |text| Ok(Self::from(text)))
            }
        }
    };
}
