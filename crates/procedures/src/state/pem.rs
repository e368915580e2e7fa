//! PEM as it came or is answered, kept in little room.
//!
//! There is one such text for each certificate and each key, and nobody looks at them but who is sent one. They are alike: what
//! follows the first block, the chain of the authority, many have in common, and most octets of the first block too. Shared by
//! [`Frames`], each is kept as that in which it differs from the others; out comes the same text again.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How many octets a line of PEM stands for (RFC 7468 section 3).
const LINE_OCTETS: usize = 48;

/// So many octets that are as in the pattern end a run of others.
const RUN_OCTETS: usize = 4;

/// How long a run is at most.
const RUN_MAX: u8 = u8::MAX;

/// A text that is PEM, as it should be; whatever it is, it comes out again word for word.
#[derive(Clone)]
pub struct Pem {
    /// Where there is no frame, the text; where the frame has a pattern that others have too, in what the octets differ from it;
    /// nothing where the frame is its own.
    kept: Box<[u8]>,
    /// What is around the octets of the first block; nothing if the text is not PEM in its usual form.
    frame: Option<Arc<Frame>>,
}

/// What is around the octets of the first block, and what they are like.
struct Frame {
    label: Box<str>,
    /// The text after the block, its last line's end included.
    rest: Box<str>,
    pattern: Pattern,
}

enum Pattern {
    /// Nobody else is known to have this frame; its one text is kept here, to be compared with the next.
    First(Box<[u8]>),
    /// What the first two had in common; zero elsewhere, so that nothing of either stays behind here.
    Common(Box<[u8]>),
}

/// The frames that texts share. Only texts keep them alive.
#[derive(Default)]
pub struct Frames {
    known: HashMap<u64, Weak<Frame>>,
    hasher: RandomState,
}

impl Pem {
    /// Takes a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        // Only what comes out again as it was.
        let exact = Self::framed(text).filter(|framed| {
            let again = framed.to_string();
            again == text
        });
        exact.unwrap_or_else(|| Self {
            kept: text.as_bytes().into(),
            frame: None,
        })
    }

    fn framed(text: &str) -> Option<Self> {
        let (label, text) = text.strip_prefix("-----BEGIN ")?.split_once("-----\n")?;
        let (lines, text) = text.split_once("-----END ")?;
        let rest = text.strip_prefix(label)?.strip_prefix("-----")?;
        let mut octets = Vec::with_capacity(lines.len() * 3 / 4);
        for line in lines.lines() {
            BASE64_STANDARD.decode_vec(line, &mut octets).ok()?;
        }
        Some(Self {
            kept: Box::default(),
            frame: Some(Arc::new(Frame {
                label: label.into(),
                rest: rest.into(),
                pattern: Pattern::First(octets.into()),
            })),
        })
    }

    /// The octets of the first block, or the text where there is no frame.
    fn octets(&self) -> Cow<'_, [u8]> {
        match self.frame.as_ref().map(|frame| &frame.pattern) {
            None => Cow::Borrowed(&self.kept),
            Some(Pattern::First(octets)) => Cow::Borrowed(octets),
            Some(Pattern::Common(pattern)) => Cow::Owned(with(pattern, &self.kept)),
        }
    }

    /// Keeps no more of it than in what it differs from others that have the same around them.
    pub fn share(&mut self, frames: &mut Frames) {
        let Some(own) = &self.frame else {
            return;
        };
        let Pattern::First(octets) = &own.pattern else {
            return;
        };
        let shared = match frames.like(own) {
            None => None,
            Some(known) => match &known.pattern {
                Pattern::Common(_) => Some(known),
                Pattern::First(first) => own.in_common(first, octets).map(|frame| {
                    let frame = Arc::new(frame);
                    frames.note(&frame);
                    frame
                }),
            },
        };
        let Some(shared) = shared else {
            frames.note(own);
            return;
        };
        if let Pattern::Common(pattern) = &shared.pattern {
            self.kept = without(pattern, octets);
            self.frame = Some(shared);
        }
    }
}

impl Frames {
    /// From this number on, those that no text has any more are taken out.
    const TIDY_AT: usize = 64;

    fn key(&self, frame: &Frame) -> u64 {
        self.hasher.hash_one((&frame.label, &frame.rest))
    }

    /// The frame that is shared by those that have the same around them.
    fn like(&self, frame: &Frame) -> Option<Arc<Frame>> {
        let known = self.known.get(&self.key(frame))?.upgrade()?;
        known.is_like(frame).then_some(known)
    }

    fn note(&mut self, frame: &Arc<Frame>) {
        // Only when it is full, so that looking through all of them is rare.
        if self.known.len() >= Self::TIDY_AT && self.known.len() == self.known.capacity() {
            self.known.retain(|_, frame| frame.strong_count() > 0);
        }
        self.known.insert(self.key(frame), Arc::downgrade(frame));
    }
}

impl Frame {
    /// The same with the pattern of two texts; nothing where they have little in common.
    fn in_common(&self, one: &[u8], other: &[u8]) -> Option<Self> {
        let pairs = || one.iter().zip(other);
        let alike = pairs().filter(|(one, other)| one == other).count();
        (alike * 2 > one.len().max(other.len())).then(|| Self {
            label: self.label.clone(),
            rest: self.rest.clone(),
            pattern: Pattern::Common(
                pairs()
                    .map(|(one, other)| if one == other { *one } else { 0 })
                    .collect(),
            ),
        })
    }

    fn is_like(&self, other: &Self) -> bool {
        self.label == other.label && self.rest == other.rest
    }
}

/// In what octets differ from a pattern: again and again how many are the same, how many are not, and those.
fn without(pattern: &[u8], octets: &[u8]) -> Box<[u8]> {
    let (mut pattern, mut octets) = (pattern, octets);
    let mut kept = Vec::new();
    while !octets.is_empty() {
        let same = same(pattern, octets, RUN_MAX);
        pattern = pattern.get(usize::from(same)..).unwrap_or_default();
        octets = octets.get(usize::from(same)..).unwrap_or_default();
        let runs_on = |other: &u8| {
            let pattern = pattern.get(usize::from(*other)..).unwrap_or_default();
            let octets = octets.get(usize::from(*other)..).unwrap_or_default();
            !octets.is_empty() && usize::from(self::same(pattern, octets, RUN_MAX)) < RUN_OCTETS
        };
        let other = (0..RUN_MAX)
            .find(|other| !runs_on(other))
            .unwrap_or(RUN_MAX);
        let (others, rest) = octets
            .split_at_checked(usize::from(other))
            .unwrap_or((octets, &[]));
        kept.extend([same, other]);
        kept.extend_from_slice(others);
        pattern = pattern.get(usize::from(other)..).unwrap_or_default();
        octets = rest;
    }
    // In no more room than it takes.
    kept.as_slice().into()
}

/// How many of the first octets are the same.
fn same(pattern: &[u8], octets: &[u8], at_most: u8) -> u8 {
    let mut pairs = pattern.iter().zip(octets);
    (0..at_most)
        .find(|_| pairs.next().is_none_or(|(one, other)| one != other))
        .unwrap_or(at_most)
}

/// The octets that differ in this from a pattern.
fn with(pattern: &[u8], kept: &[u8]) -> Vec<u8> {
    let (mut octets, mut kept) = (Vec::with_capacity(pattern.len()), kept);
    while let Some((&[same, other], rest)) = kept.split_first_chunk() {
        let from = octets.len();
        let run = pattern.get(from..from + usize::from(same));
        octets.extend_from_slice(run.unwrap_or_default());
        let others = rest.split_at_checked(usize::from(other));
        let (others, rest) = others.unwrap_or((rest, &[]));
        octets.extend_from_slice(others);
        kept = rest;
    }
    octets
}

impl PartialEq for Pem {
    fn eq(&self, other: &Self) -> bool {
        let frames = match (&self.frame, &other.frame) {
            (None, None) => true,
            (Some(one), Some(other)) => one.is_like(other),
            _ => false,
        };
        frames && self.octets() == other.octets()
    }
}

impl Eq for Pem {}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(frame) = &self.frame else {
            // Holds because without a frame it is a text.
            return f.write_str(std::str::from_utf8(&self.kept).unwrap_or_default());
        };
        let Frame { label, rest, .. } = frame.as_ref();
        let octets = self.octets();
        let lines = octets.len() / LINE_OCTETS + 1;
        let mut text = String::with_capacity(lines * (LINE_OCTETS / 3 * 4 + 1));
        for line in octets.chunks(LINE_OCTETS) {
            BASE64_STANDARD.encode_string(line, &mut text);
            text.push('\n');
        }
        write!(
            f,
            "-----BEGIN {label}-----\n{text}-----END {label}-----{rest}"
        )
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frames").field(&self.known.len()).finish()
    }
}

impl From<&str> for Pem {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Pem {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl PartialEq<str> for Pem {
    fn eq(&self, text: &str) -> bool {
        *self == Self::new(text)
    }
}

impl PartialEq<&str> for Pem {
    fn eq(&self, text: &&str) -> bool {
        *self == **text
    }
}

impl PartialEq<String> for Pem {
    fn eq(&self, text: &String) -> bool {
        *self == **text
    }
}

impl Serialize for Pem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Pem;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Pem, E> {
                Ok(Pem::new(text))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests;
