//! Reading of query parameters: what is given is of its type or refused, with the name of the parameter.

use std::str::FromStr;

use capif_procedures::{
    discovery::LIST_MAX,
    refusal::{Refusal, RequestFault},
};
use capif_spec::{
    common::{Checked, DateTime, SupportedFeatures},
    json,
};
use serde::de::DeserializeOwned;

/// The parameters of a request; each name stands there once.
pub(super) struct Query<'a>(pub(super) &'a [(String, String)]);

impl<'a> Query<'a> {
    /// A parameter as it came.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A mandatory parameter.
    pub(super) fn mandatory(&self, name: &str) -> Result<&'a str, Refusal> {
        self.value(name).ok_or_else(|| Refusal::Malformed {
            pointer: name.to_owned(),
            reason: format!("`{name}` is missing"),
            fault: RequestFault::QueryMissing,
        })
    }

    /// A parameter of a type that any text makes a value of.
    pub(super) fn text<T: From<&'a str>>(&self, name: &str) -> Option<T> {
        self.value(name).map(T::from)
    }

    /// Features (TS 29.571 table 5.2.2-3).
    pub(super) fn features(&self, name: &str) -> Result<Option<SupportedFeatures>, Refusal> {
        self.value(name)
            .map(|text| features(name, text))
            .transpose()
    }

    /// A date and time.
    pub(super) fn time(&self, name: &str) -> Result<Option<DateTime>, Refusal> {
        let read = |text| {
            DateTime::from_str(text).map_err(|_| {
                wrong(
                    name,
                    "is a date and time of RFC 3339 with offset, like 2026-01-31T12:00:00Z; a `+` is written as %2B",
                )
            })
        };
        self.value(name).map(read).transpose()
    }

    /// A list whose items are separated by commas.
    pub(super) fn list<T: From<&'a str>>(&self, name: &str) -> Result<Vec<T>, Refusal> {
        let Some(text) = self.value(name) else {
            return Ok(Vec::new());
        };
        let items: Vec<&str> = text.split(',').collect();
        if items.iter().any(|item| item.is_empty()) {
            return Err(wrong(
                name,
                "is a list of one or more values, separated by commas",
            ));
        }
        bounded(name, items.len())?;
        Ok(items.into_iter().map(T::from).collect())
    }

    /// A parameter that is a JSON document.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Refusal> {
        self.value(name)
            .map(|text| read_json(name, text))
            .transpose()
    }

    /// A parameter that is a JSON object with rules of its own.
    pub(super) fn object<T: DeserializeOwned + Checked>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Refusal> {
        let object = self.json(name)?;
        check(name, &object)?;
        Ok(object)
    }

    /// A parameter that is a JSON list, not empty.
    pub(super) fn json_list<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, Refusal> {
        match self.value(name) {
            Some(text) => read_list(name, text),
            None => Ok(Vec::new()),
        }
    }

    /// A list of objects for which TS 29.222 names the form style, which is not defined for objects: a JSON list, or JSON objects
    /// separated by commas.
    pub(super) fn objects<T: DeserializeOwned + Checked>(
        &self,
        name: &str,
    ) -> Result<Vec<T>, Refusal> {
        let Some(text) = self.value(name) else {
            return Ok(Vec::new());
        };
        let items: Vec<T> = if text.trim_start().starts_with('[') {
            read_list(name, text)?
        } else {
            read_list(name, &format!("[{text}]"))?
        };
        items.iter().try_for_each(|item| check(name, item))?;
        Ok(items)
    }
}

/// Refuses the value of a parameter; the reason goes on after its name.
pub(super) fn wrong(name: &str, reason: &str) -> Refusal {
    Refusal::Malformed {
        pointer: name.to_owned(),
        reason: format!("`{name}` {reason}"),
        fault: RequestFault::QueryIncorrect,
    }
}

/// Refuses lists that are too long.
pub(super) fn bounded(name: &str, length: usize) -> Result<(), Refusal> {
    if length <= LIST_MAX {
        return Ok(());
    }
    Err(wrong(name, &format!("lists at most {LIST_MAX} values")))
}

/// Reads features.
pub(super) fn features(name: &str, text: &str) -> Result<SupportedFeatures, Refusal> {
    let features = SupportedFeatures::from(text);
    if features.is_valid() {
        Ok(features)
    } else {
        Err(wrong(name, "is a number of hexadecimal digits"))
    }
}

/// Checks the rules of a value.
pub(super) fn check(name: &str, value: &impl Checked) -> Result<(), Refusal> {
    value
        .check()
        .map_err(|violation| at(name, &violation.pointer, &violation.reason))
}

fn read_json<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Refusal> {
    json::from_slice(text.as_bytes()).map_err(|error| at(name, &error.pointer, &error.reason))
}

fn read_list<T: DeserializeOwned>(name: &str, text: &str) -> Result<Vec<T>, Refusal> {
    let items: Vec<T> = read_json(name, text)?;
    if items.is_empty() {
        return Err(wrong(name, "is a list of one or more values"));
    }
    bounded(name, items.len())?;
    Ok(items)
}

/// Refuses a document in a parameter, with the place of the mistake.
pub(super) fn at(name: &str, pointer: &str, reason: &str) -> Refusal {
    if pointer.is_empty() {
        return wrong(name, &format!("is refused: {reason}"));
    }
    wrong(name, &format!("is refused at {pointer}: {reason}"))
}
