//! What is logged, and how it looks: JSON for collectors, or calm lines for people.
//!
//! Choice: only this product's own events follow the configured level. What the libraries below say at `debug` and `trace` can
//! hold headers and bodies, and with them credentials, so of them only warnings are taken.

use std::{
    borrow::Cow,
    fmt::{self, Write},
    ops::Range,
};

use capif_ccf::config::{LogFormat, LogSection};
use capif_transport::{Clock, SystemClock};
use figment::{
    Figment,
    providers::{Env, Serialized},
};
use time::{OffsetDateTime, macros::format_description};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
};

use crate::{exit::Failure, output::is_hidden};

/// Room for the line of a request.
const LINE_CHARS: usize = 192;

/// The target of the line that every answered request leaves.
const REQUEST: &str = "capif::request";

/// The `[log]` section of the environment alone, for commands that read no file: `CAPIF_LOG__LEVEL`, `CAPIF_LOG__FORMAT`. What
/// the environment does not say is as in `otherwise`.
///
/// # Errors
/// When the environment says something that cannot be.
pub(crate) fn from_environment(otherwise: &str) -> Result<LogSection, Failure> {
    let mut section: LogSection = Figment::new()
        .merge(Serialized::default("level", otherwise))
        .merge(Env::prefixed("CAPIF_LOG__"))
        .extract()
        .map_err(|error| Failure::usage(format!("in the environment (CAPIF_LOG__…): {error}")))?;
    section.level = section.level.to_lowercase();
    if level(&section.level).is_none() {
        return Err(Failure::usage(
            "CAPIF_LOG__LEVEL: use error, warn, info, debug or trace",
        ));
    }
    Ok(section)
}

/// Logs to standard error from now on.
pub(crate) fn start(section: &LogSection) {
    let filter = Targets::new()
        .with_target("capif", level(&section.level).unwrap_or(LevelFilter::INFO))
        .with_default(LevelFilter::WARN);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Fails only if it was done before, and then nothing is missing.
    let _done_before = match section.format {
        LogFormat::Json => tracing::subscriber::set_global_default(
            tracing_subscriber::registry()
                .with(filter)
                .with(layer.json().flatten_event(true).with_current_span(false)),
        ),
        LogFormat::Text => tracing::subscriber::set_global_default(
            tracing_subscriber::registry()
                .with(filter)
                .with(layer.event_format(Lines)),
        ),
    };
}

fn level(name: &str) -> Option<LevelFilter> {
    match name {
        "error" => Some(LevelFilter::ERROR),
        "warn" => Some(LevelFilter::WARN),
        "info" => Some(LevelFilter::INFO),
        "debug" => Some(LevelFilter::DEBUG),
        "trace" => Some(LevelFilter::TRACE),
        _ => None,
    }
}

/// One line per event: time, level if it is not `info`, what happened, details.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = match metadata.target() {
            REQUEST => fields.request(),
            _ => fields.line(),
        };
        let time = SystemClock.now();
        writeln!(writer, "{} {}{line}", Time(time), Word(metadata.level()))
    }
}

/// The fields of an event in their order, all in one text.
#[derive(Default)]
struct Fields {
    /// The values, one after the other.
    text: String,
    message: Range<usize>,
    others: Vec<(&'static str, Range<usize>)>,
}

impl Fields {
    fn at(&self, place: &Range<usize>) -> &str {
        self.text.get(place.clone()).unwrap_or_default()
    }

    fn value(&self, name: &str) -> &str {
        self.others
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, place)| self.at(place))
    }

    fn line(&self) -> String {
        let mut line = escaped(self.at(&self.message)).into_owned();
        for (name, place) in &self.others {
            let value = self.at(place);
            let quote = value.is_empty() || value.contains([' ', '"']);
            let value = escaped(value);
            let _infallible = if quote {
                write!(line, " {name}={value:?}")
            } else {
                write!(line, " {name}={value}")
            };
        }
        line.trim_start().to_owned()
    }

    /// The answer to a request: status, method, operation, who asked, how long it took, why not, and the id by which
    /// the one who asked may refer to it.
    fn request(&self) -> String {
        let mut line = String::with_capacity(LINE_CHARS);
        let operation = [self.value("method"), self.value("operation")];
        line.push_str(self.value("status"));
        for word in operation {
            line.push(' ');
            line.push_str(word);
        }
        let caller = self.value("caller");
        if !["", "-"].contains(&caller) {
            line.push_str(" by ");
            line.push_str(caller);
        }
        if let Ok(microseconds) = self.value("duration_us").parse::<u32>() {
            let _infallible = write!(line, " in {:.1} ms", f64::from(microseconds) / 1000.0);
        }
        let cause = self.value("cause");
        if !cause.is_empty() {
            line.push_str(": ");
            line.push_str(cause);
        }
        line.push_str(" [");
        line.push_str(self.value("request_id"));
        line.push(']');
        match escaped(&line) {
            Cow::Borrowed(_) => line,
            Cow::Owned(escaped) => escaped,
        }
    }

    /// Takes a value in.
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let begin = self.text.len();
        let _infallible = self.text.write_fmt(value);
        let place = begin..self.text.len();
        match field.name() {
            "message" => self.message = place,
            name => self.others.push((name, place)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

/// Text on one line: what came from elsewhere can neither begin a line nor drive a terminal (RUSTSEC-2025-0055).
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            line.extend(character.escape_unicode());
        } else {
            line.push(character);
        }
    }
    Cow::Owned(line)
}

/// The level, unless it is the usual one.
struct Word<'a>(&'a Level);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            Level::INFO => Ok(()),
            Level::WARN => f.write_str("warning: "),
            Level::ERROR => f.write_str("error: "),
            other => write!(f, "{}: ", other.as_str().to_lowercase()),
        }
    }
}

/// The time of an event, to the second.
struct Time(OffsetDateTime);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        f.write_str(&self.0.format(form).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &str, others: &[(&'static str, &str)]) -> Fields {
        let mut fields = Fields {
            text: message.to_owned(),
            message: 0..message.len(),
            others: Vec::new(),
        };
        for (name, value) in others {
            let begin = fields.text.len();
            fields.text.push_str(value);
            fields.others.push((name, begin..fields.text.len()));
        }
        fields
    }

    #[test]
    fn a_request_is_one_short_line() {
        let fields = fields(
            "",
            &[
                ("request_id", "4f"),
                ("interface", "CAPIF-1-5"),
                ("caller", "API_INVOKER INV1"),
                ("operation", "GetPubServAPIs"),
                ("method", "GET"),
                ("status", "403"),
                ("duration_us", "1234"),
                ("cause", "not the\ncaller"),
            ],
        );
        assert_eq!(
            fields.request(),
            "403 GET GetPubServAPIs by API_INVOKER INV1 in 1.2 ms: not the\\u{a}caller [4f]"
        );
    }

    #[test]
    fn other_events_keep_their_fields() {
        let fields = fields("it failed", &[("id", "x1"), ("why", "no disk")]);
        assert_eq!(fields.line(), "it failed id=x1 why=\"no disk\"");
    }

    #[test]
    fn text_of_others_stays_on_its_line() {
        assert_eq!(escaped("a\r\nb\u{1b}[31m"), "a\\u{d}\\u{a}b\\u{1b}[31m");
    }

    #[test]
    fn a_time_is_written_to_the_second() {
        let time = time::macros::datetime!(2026-11-21 05:09:03.25 UTC);
        assert_eq!(Time(time).to_string(), "2026-11-21T05:09:03Z");
    }
}
