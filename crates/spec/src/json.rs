//! Strict reading of JSON documents.
//!
//! A document is read twice. The first pass looks at form alone: it refuses a member that stands twice in one object (also
//! when one of the two is spelled with escapes), nesting beyond [`DEPTH_MAX`], and anything after the document. Two readers
//! of a document that passes cannot disagree about what it says. The second pass makes the typed value and names the
//! culprit if that fails. No message repeats a value of the document, since values may be secrets.

mod form;

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, Unexpected},
};
use serde_json::Value;
use serde_path_to_error::Segment;

/// How deep objects and lists may be nested.
pub const DEPTH_MAX: usize = 64;

/// How much of a member's name is repeated in a message, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Why a document was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", Place(pointer))]
pub struct JsonError {
    /// The culprit as a JSON pointer (RFC 6901); empty for the document itself.
    pub pointer: String,
    /// What is wrong, without any value of the document.
    pub reason: String,
    /// Of which sort the mistake is.
    pub kind: JsonErrorKind,
}

/// The sort of a mistake in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// It is not JSON (RFC 8259), or something follows it.
    Syntax,
    /// A member stands twice.
    Duplicate,
    /// It is nested too deep.
    TooDeep,
    /// A mandatory member is missing.
    MissingMember,
    /// A value is not of the type that its member asks for.
    WrongType,
}

/// Reads a document.
///
/// # Errors
/// Names the first mistake: of form, or of type.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    form::check(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| mistake(&error))
}

/// Makes a typed value of a document that was read before, such as the result of a merge patch.
///
/// # Errors
/// Names the first mistake of type.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, JsonError> {
    serde_path_to_error::deserialize(value).map_err(|error| mistake(&error))
}

/// Says what a typed reader did not like. The messages of serde carry values; only what was expected is taken from them.
fn mistake(error: &serde_path_to_error::Error<serde_json::Error>) -> JsonError {
    let mut pointer = String::new();
    for segment in error.path() {
        match segment {
            Segment::Seq { index } => push(&mut pointer, &index.to_string()),
            Segment::Map { key } => push(&mut pointer, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let text = error.inner().to_string();
    if let Some(member) = text
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        push(&mut pointer, member);
        return JsonError {
            pointer,
            reason: format!("`{member}` is missing"),
            kind: JsonErrorKind::MissingMember,
        };
    }
    // The text before the last mark may hold values, what follows comes from the types alone.
    let expected = text
        .starts_with("invalid ")
        .then(|| text.rsplit_once(", expected "))
        .flatten()
        .map_or("another value", |(_, expected)| expected);
    let expected = expected.split(" at line ").next().unwrap_or_default();
    JsonError {
        pointer,
        reason: format!("expected {}", in_words_of_json(expected)),
        kind: JsonErrorKind::WrongType,
    }
}

/// What was expected, for readers who do not know how it is read here.
fn in_words_of_json(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" => "an object",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not too large and not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number, not too large",
        "f32" | "f64" => "a number",
        _ if expected.starts_with("struct ") => "an object",
        other => other,
    }
}

/// Appends a segment to a JSON pointer.
fn push(pointer: &mut String, segment: &str) {
    pointer.push('/');
    pointer.push_str(&shortened(segment).replace('~', "~0").replace('/', "~1"));
}

/// The beginning of a name that a peer chose.
fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

/// A pointer before a message, or nothing for the document itself.
struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, "{}: ", self.0)
        }
    }
}

/// Reads a member that may be absent but not `null`, unless its own type takes `null`.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Reads a value from a string; `read` says what it expected if the text is no such value.
pub(crate) fn from_text<'de, D, T, F>(deserializer: D, read: F) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: FnOnce(&str) -> Result<T, &'static str>,
{
    struct Text<T, F>(F, PhantomData<T>);

    impl<T, F: FnOnce(&str) -> Result<T, &'static str>> de::Visitor<'_> for Text<T, F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text)
                .map_err(|expected| E::invalid_value(Unexpected::Other("string"), &expected))
        }
    }

    deserializer.deserialize_str(Text(read, PhantomData))
}

#[cfg(test)]
mod tests;
