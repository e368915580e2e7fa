//! Points in time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339,
    macros::format_description,
};

/// A point in time, in the form of RFC 3339 section 5.6 on the wire (TS 29.122 table 5.2.1.3.2-1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime(pub OffsetDateTime);

impl DateTime {
    /// Reads a time of an invocation log, which may also lack `T` and offset.
    ///
    /// Choice: deployed AEFs report `YYYY-MM-DD hh:mm:ss`; refusing would lose the log entry, so that form is taken as UTC.
    /// Everywhere else a time without offset is refused, since guessing would move an expiry.
    pub(crate) fn of_log<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Self>, D::Error> {
        let bare = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        crate::json::from_text(deserializer, |text| {
            text.parse()
                .or_else(|_| {
                    PrimitiveDateTime::parse(text, bare).map(|time| Self(time.assume_utc()))
                })
                .map(Some)
                .map_err(|_| EXPECTED)
        })
    }
}

const EXPECTED: &str = "a date and time of RFC 3339 with offset, like 2026-01-31T12:00:00Z";

/// The text is no date and time of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {EXPECTED}")]
pub struct NotADateTime;

impl FromStr for DateTime {
    type Err = NotADateTime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        OffsetDateTime::parse(text, &Rfc3339)
            .map(Self)
            .map_err(|_| NotADateTime)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl From<OffsetDateTime> for DateTime {
    fn from(time: OffsetDateTime) -> Self {
        Self(time)
    }
}

impl Serialize for DateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.format(&Rfc3339).map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::json::from_text(deserializer, |text| text.parse().map_err(|_| EXPECTED))
    }
}
