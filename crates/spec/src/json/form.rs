//! The first pass: the form of a document.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::{DEPTH_MAX, JsonError, JsonErrorKind, push, shortened};

/// Checks that a document is JSON whose objects name each member once, within the bound of depth.
pub(super) fn check(bytes: &[u8]) -> Result<(), JsonError> {
    let mut finding = None;
    let mut path = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let place = Place {
        path: &mut path,
        finding: &mut finding,
    };
    place
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| {
            finding.unwrap_or_else(|| JsonError {
                pointer: String::new(),
                reason: format!("not a JSON document: {error}"),
                kind: JsonErrorKind::Syntax,
            })
        })
}

/// A step from the document to a value.
enum Step<'de> {
    Member(Cow<'de, str>),
    Item(usize),
}

/// Visits one value. What is wrong with the form is left in `finding`, since the error of the parser can only carry text.
struct Place<'a, 'de> {
    path: &'a mut Vec<Step<'de>>,
    finding: &'a mut Option<JsonError>,
}

impl<'de> Place<'_, 'de> {
    fn inner(&mut self) -> Place<'_, 'de> {
        Place {
            path: self.path,
            finding: self.finding,
        }
    }

    fn refuse<E: Error>(&mut self, kind: JsonErrorKind, reason: String) -> E {
        let mut pointer = String::new();
        for step in &*self.path {
            match step {
                Step::Member(name) => push(&mut pointer, name),
                Step::Item(index) => push(&mut pointer, &index.to_string()),
            }
        }
        *self.finding = Some(JsonError {
            pointer,
            reason,
            kind,
        });
        E::custom("refused")
    }

    fn bound_depth<E: Error>(&mut self) -> Result<(), E> {
        if self.path.len() < DEPTH_MAX {
            return Ok(());
        }
        let reason = format!("objects and lists may be nested {DEPTH_MAX} deep");
        Err(self.refuse(JsonErrorKind::TooDeep, reason))
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.bound_depth()?;
        for index in 0.. {
            self.path.push(Step::Item(index));
            let item = items.next_element_seed(self.inner())?;
            self.path.pop();
            if item.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        self.bound_depth()?;
        let mut seen: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(name) = members.next_key_seed(Name)? {
            self.path.push(Step::Member(name.clone()));
            if !seen.insert(name.clone()) {
                let reason = format!("`{}` stands twice", shortened(&name));
                return Err(self.refuse(JsonErrorKind::Duplicate, reason));
            }
            members.next_value_seed(self.inner())?;
            self.path.pop();
        }
        Ok(())
    }
}

/// Reads the name of a member with its escapes resolved, so that two spellings of one name are equal.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
