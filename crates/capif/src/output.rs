//! What is written where: data to standard output, everything else to standard error.

use std::io::{self, Write};

use capif_spec::common::DateTime;
use clap::ValueEnum;
use serde::Serialize;

use crate::exit::{Exit, Failure};

/// How a listing is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns, for people
    #[default]
    Table,
    /// JSON, for programs
    Json,
}

/// Writes a line about what is going on to standard error.
pub(crate) fn note(line: &str) {
    // Nobody is left to tell when that fails.
    let _unwritable = writeln!(io::stderr().lock(), "{line}");
}

/// A time for people: to the second.
pub(crate) fn time(time: &DateTime) -> String {
    let whole = time.0.replace_nanosecond(0).unwrap_or(time.0);
    DateTime(whole).to_string()
}

/// Writes data to standard output.
///
/// # Errors
/// When it cannot be written; [`Failure::unread`] when nobody reads any more.
pub(crate) fn data(octets: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(octets)
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::unread(),
            _ => Failure::usage(format!("cannot write to standard output ({error})")),
        })
}

/// Writes a line of data.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    data(format!("{text}\n").as_bytes())
}

/// Writes a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::of(Exit::Usage, &error))?;
    line(&text)
}

/// Writes rows below their headings, each column as wide as it needs to be.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    data(layout(headings, rows).as_bytes())
}

fn layout(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings
        .iter()
        .map(|heading| (*heading).to_owned())
        .collect();
    let rows: Vec<Vec<String>> = std::iter::once(headings)
        .filter(|headings| !headings.is_empty())
        .chain(
            rows.iter()
                .map(|row| row.iter().map(|cell| plain(cell)).collect()),
        )
        .collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (index, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(index) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Text that others chose, for a terminal: no control characters, none that change the direction of writing, not empty.
pub(crate) fn plain(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars()
        .map(|character| if is_hidden(character) { ' ' } else { character })
        .collect()
}

/// Whether a character shows as nothing and still acts: on the terminal, or on the direction of writing.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["INV1".to_owned(), String::new()],
            vec!["INV22222".to_owned(), "weather".to_owned()],
        ];
        assert_eq!(
            layout(&["ID", "APIS"], &rows),
            "ID        APIS\nINV1      -\nINV22222  weather\n"
        );
        assert_eq!(layout(&["ID"], &[]), "ID\n");
        assert_eq!(layout(&[], &rows), "INV1      -\nINV22222  weather\n");
    }

    #[test]
    fn text_of_others_cannot_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}d"), "a [2Jb c d");
        assert_eq!(
            plain("sunny \u{2013} 7 \u{b0}C\u{2026}"),
            "sunny \u{2013} 7 \u{b0}C\u{2026}"
        );
        assert_eq!(plain(""), "-");
    }
}
